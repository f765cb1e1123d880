"""Layers of a live model as the parts that graphs are written from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from liteasr.errors import ExportError
from liteasr.export.products import Affine
from liteasr.nn import LowRankLinear

__all__ = ["affines_of", "array_of", "with_constant", "with_scaled_input"]


def affines_of(name: str, layer: nn.Module, *, bias: bool = True) -> list[Affine]:
    """A layer as the products it takes, in running order; the last one may lose its bias.

    Raises:
        ExportError: It is neither linear nor a chain.
    """
    if isinstance(layer, LowRankLinear):
        up = affines_of(f"{name}.up", layer.up, bias=bias)
        return [*affines_of(f"{name}.down", layer.down), *up]
    if not isinstance(layer, nn.Linear):
        raise ExportError(
            f"{name} is a {type(layer).__name__}: only linear layers and chains can be exported"
        )
    values = None if layer.bias is None or not bias else array_of(layer.bias)
    return [Affine(name=name, weight=array_of(layer.weight.T), bias=values)]


def with_constant(parts: list[Affine], constant: np.ndarray | None) -> list[Affine]:
    """The same products for an input that lacks a constant: they add what it would have given."""
    if constant is None:
        return parts
    for part in parts:
        constant = constant @ part.weight
    last = parts[-1]
    moved = constant if last.bias is None else constant + last.bias
    return [*parts[:-1], replace(last, bias=moved)]


def with_scaled_input(parts: list[Affine], scales: np.ndarray | None) -> list[Affine]:
    """The same products for an input whose channels were divided by scales."""
    if scales is None:
        return parts
    return [replace(parts[0], weight=parts[0].weight * scales[:, None]), *parts[1:]]


def array_of(tensor: Tensor) -> np.ndarray:
    """A tensor as a float32 array, not copied where it is one already."""
    array: np.ndarray = tensor.detach().to("cpu").float().contiguous().numpy()
    return array
