"""How a graph multiplies by weights: in float32, or in int8 with dynamic activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float32

from liteasr.export.graph import CONTRIB, Graph

__all__ = ["Affine", "FloatProducts", "Int8Products", "Precision", "Products", "products_for"]

Precision = Literal["float32", "int8"]


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

    def apply(self, graph: Graph, x: str, affine: Affine) -> str:
        """Add y = x W + b for a value of shape [rows, in] and give the name of y."""
        ...

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of W, [in, *indices]: where W is a vocabulary's, the embeddings of tokens."""
        ...


class FloatProducts:
    """One Gemm each: ONNX Runtime packs the constant weight once, at loading."""

    def apply(self, graph: Graph, x: str, affine: Affine) -> str:
        """Add y = x W + b."""
        weight = graph.weight(f"{affine.name}.weight", affine.weight)
        if affine.bias is None:
            return graph.node("MatMul", x, weight)
        return graph.node("Gemm", x, weight, graph.weight(f"{affine.name}.bias", affine.bias))

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of W, [in, *indices]."""
        weight = graph.weight(f"{affine.name}.weight", affine.weight)
        return graph.node("Gather", weight, indices, axis=1)


class Int8Products:
    """Weights in signed int8 with a scale per output, activations quantized as they come.

    W ≈ Q diag(s), s = max |W| / 127 per column; x = z₀ + q·s_x with q in uint8 and one scale for
    the whole value. Products are summed in int32, so only the two roundings lose anything.

    Args:
        reach: Largest integer of a weight. 127 uses all of int8; 64 keeps the sums of pairs that
            AVX2 adds in int16 from saturating.
    """

    def __init__(self, reach: int = 127) -> None:
        self._reach = reach
        self._quantized: dict[str, tuple[str, ...]] = {}

    def apply(self, graph: Graph, x: str, affine: Affine) -> str:
        """Add y = x W + b; values that several products read are quantized once."""
        if x not in self._quantized:
            self._quantized[x] = graph.nodes("DynamicQuantizeLinear", x, outputs=(None,) * 3)
        values, scale, zero = self._quantized[x]
        weight, scales = self._weight(graph, affine)
        bias = "" if affine.bias is None else graph.weight(f"{affine.name}.bias", affine.bias)
        return graph.node(
            "MatMulIntegerToFloat", values, weight, scale, scales, zero, "", bias, domain=CONTRIB
        )

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of Q diag(s), [in, *indices]."""
        weight, scales = self._weight(graph, affine)
        chosen = graph.node("Gather", weight, indices, axis=1)
        values = graph.node("Cast", chosen, to=1)  # float32
        return graph.node("Mul", values, graph.node("Gather", scales, indices))

    def _weight(self, graph: Graph, affine: Affine) -> tuple[str, str]:
        scales = np.abs(affine.weight).max(0) / self._reach
        scales = np.where(scales > 0, scales, 1).astype(np.float32)  # a column of zeros
        rounded = np.round(affine.weight / scales).astype(np.int8)
        return (
            graph.weight(f"{affine.name}.weight_int8", rounded),
            graph.weight(f"{affine.name}.weight_scale", scales),
        )


def products_for(precision: Precision) -> Products:
    """The products of a precision by name.

    Raises:
        ValueError: There is no such precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}"
        )
    return FloatProducts() if precision == "float32" else Int8Products()
