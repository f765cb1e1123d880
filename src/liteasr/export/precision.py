"""Precisions by name."""

from __future__ import annotations

from typing import Literal, get_args

from liteasr.export.int8 import Int8Products
from liteasr.export.products import FloatProducts, Products

__all__ = ["Precision", "products_for"]

Precision = Literal["float32", "int8"]


def products_for(precision: Precision) -> Products:
    """How a precision multiplies.

    Raises:
        ValueError: There is no such precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}"
        )
    return FloatProducts() if precision == "float32" else Int8Products()
