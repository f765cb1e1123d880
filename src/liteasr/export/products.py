"""How a graph multiplies by weights: the one place that knows of precisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float32

from liteasr.export.graph import Graph

__all__ = ["Affine", "FloatProducts", "Products", "Rows"]

Rows = Literal["alike", "uneven", "after_gelu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Affine:
    """y = x W + b for rows x, as ONNX multiplies: the weight lies [in, out].

    Attributes:
        name: Name of the weight in the graph.
        weight: W.
        bias: b, or None for none.
    """

    name: str
    weight: Float32[np.ndarray, "in out"]
    bias: Float32[np.ndarray, "out"] | None


class Products(Protocol):
    """Writes affine maps into a graph."""

    def chain(self, graph: Graph, x: str, parts: Sequence[Affine], *, rows: Rows = "alike") -> str:
        """Add one map after another for a value of shape [rows, in] and give the last one's name.

        Args:
            graph: Where to.
            x: Name of the value.
            parts: The maps; two for a chain of thin layers.
            rows: What is known of the value: rows of about one size, rows of which some are
                many times larger, or what GELU gives, which is that and never below -0.17.
        """
        ...

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of W, [in, *indices]: where W is a vocabulary's, the embeddings of tokens."""
        ...

    def channel_scales(
        self, weight: Float32[np.ndarray, "in"], bias: Float32[np.ndarray, "in"]
    ) -> Float32[np.ndarray, "in"] | None:
        """What a layer norm divides its outputs by where its readers multiply it back in.

        Args:
            weight: Scale of the norm.
            bias: Shift of the norm.

        Returns:
            One number per channel, or None to leave the norm as it is.
        """
        ...


class FloatProducts:
    """One Gemm each: ONNX Runtime packs the constant weight once, at loading."""

    def chain(self, graph: Graph, x: str, parts: Sequence[Affine], *, rows: Rows = "alike") -> str:
        """Add one map after another."""
        for part in parts:
            weight = graph.weight(f"{part.name}.weight", part.weight)
            if part.bias is None:
                x = graph.node("MatMul", x, weight)
            else:
                x = graph.node("Gemm", x, weight, graph.weight(f"{part.name}.bias", part.bias))
        return x

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of W, [in, *indices]."""
        weight = graph.weight(f"{affine.name}.weight", affine.weight)
        return graph.node("Gather", weight, indices, axis=1)

    def channel_scales(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """None: float32 does not mind."""
