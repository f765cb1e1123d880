"""Products in int8, with scales found as the activations come: no calibration is needed.

W ≈ Q diag(s) with a scale per output; activations in uint8. Sums are exact in int32, so only the
two roundings lose anything, and most of that where one scale serves numbers of very different
sizes. Three things that cost (almost) no time set that right:

- Channels after a layer norm differ as its scales g do: the norm divides by √g, its readers
  multiply by it (SmoothQuant, arXiv:2211.10438, with g in place of measured activations).
- Inner channels of a chain differ as the principal components do: the two factors share each
  channel's size equally.
- A few positions of deep blocks are a hundred times larger than others: where that happens,
  every row has its own scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from liteasr.export.graph import CONTRIB, Graph
from liteasr.export.products import Affine, Rows

__all__ = ["Int8Products"]

# 127 would be all of int8, but two products with 255 of it overflow the int16 in which processors
# without VNNI (most of those with AVX2) add pairs: a file must be right wherever it is opened
REACH = 63
STEPS = 255
LEAST = 1e-6
GELU_LEAST = 0.68  # four times what GELU goes below zero, so that [-1/4, 1] holds all its values


class Int8Products:
    """Weights in signed int8, of which 7 bits are used, and activations in uint8."""

    def __init__(self) -> None:
        self._quantized: dict[str, tuple[str, ...]] = {}

    def chain(self, graph: Graph, x: str, parts: Sequence[Affine], *, rows: Rows = "alike") -> str:
        """Add one map after another."""
        for part in _balanced(parts):
            if rows == "alike":
                x = self._alike(graph, x, part)
            else:
                x = self._by_row(graph, x, part, after_gelu=rows == "after_gelu")
                rows = "uneven"
        return x

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of Q diag(s), [in, *indices]."""
        weight, scales = self._weight(graph, affine)
        chosen = graph.node("Gather", weight, indices, axis=1)
        values = graph.node("Cast", chosen, to=1)  # float32
        return graph.node("Mul", values, graph.node("Gather", scales, indices))

    def channel_scales(self, weight: np.ndarray, bias: np.ndarray) -> np.ndarray | None:
        """√(|g| + |b|), kept from zero."""
        sizes = np.abs(weight) + np.abs(bias)
        scales: np.ndarray = np.sqrt(np.maximum(sizes, 0.01 * sizes.max() + LEAST))
        return scales.astype(np.float32)

    def _alike(self, graph: Graph, x: str, part: Affine) -> str:
        """One scale and zero for the whole value, found once for all products that read it."""
        if x not in self._quantized:
            self._quantized[x] = graph.nodes("DynamicQuantizeLinear", x, outputs=(None,) * 3)
        values, scale, zero = self._quantized[x]
        weight, scales = self._weight(graph, part)
        bias = "" if part.bias is None else graph.weight(f"{part.name}.bias", part.bias)
        return graph.node(
            "MatMulIntegerToFloat", values, weight, scale, scales, zero, "", bias, domain=CONTRIB
        )

    def _by_row(self, graph: Graph, x: str, part: Affine, *, after_gelu: bool) -> str:
        """Rows divided by their largest number, multiplied back in after the product."""
        axis = graph.integers(1)
        if after_gelu:
            least, low = GELU_LEAST, 0.25
            sizes = graph.node("ReduceMax", x, axis, keepdims=1)
        else:
            least, low = LEAST, 1.0
            sizes = graph.node("ReduceMax", graph.node("Abs", x), axis, keepdims=1)
        sizes = graph.node("Max", sizes, _number(graph, f"least_{least}", least))
        scale = _number(graph, f"scale_{low}", (1 + low) / STEPS)
        zero = graph.weight(f"zero_{low}", np.array(round(low * STEPS / (1 + low)), np.uint8))
        values = graph.node("QuantizeLinear", graph.node("Div", x, sizes), scale, zero)
        weight, scales = self._weight(graph, part)
        product = graph.node(
            "MatMulIntegerToFloat", values, weight, scale, scales, zero, domain=CONTRIB
        )
        product = graph.node("Mul", product, sizes)
        if part.bias is None:
            return product
        return graph.node("Add", product, graph.weight(f"{part.name}.bias", part.bias))

    def _weight(self, graph: Graph, affine: Affine) -> tuple[str, str]:
        scales = np.abs(affine.weight).max(0) / REACH
        scales = np.where(scales > 0, scales, 1).astype(np.float32)  # a column of zeros
        rounded = np.round(affine.weight / scales).astype(np.int8)
        return (
            graph.weight(f"{affine.name}.weight_int8", rounded),
            graph.weight(f"{affine.name}.weight_scale", scales),
        )


def _balanced(parts: Sequence[Affine]) -> list[Affine]:
    """The same chain with inner channels of one size: √(‖W₁ column‖ / ‖W₂ row‖) moves over."""
    balanced = list(parts)
    for i in range(len(balanced) - 1):
        first, second = balanced[i : i + 2]
        if first.bias is not None:
            continue
        sizes = np.linalg.norm(first.weight, axis=0) / np.maximum(
            np.linalg.norm(second.weight, axis=1), LEAST
        )
        scales = np.sqrt(np.maximum(sizes, LEAST)).astype(np.float32)
        balanced[i] = replace(first, weight=first.weight / scales)
        balanced[i + 1] = replace(second, weight=second.weight * scales[:, None])
    return balanced


def _number(graph: Graph, name: str, value: float) -> str:
    return graph.weight(name, np.array(value, np.float32))
