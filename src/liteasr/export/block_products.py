"""Products of few rows: what they cost is reading the weights, so those are kept small.

W ≈ s (q - z) with q of 8 or 4 bits and a scale for every block of inputs of every output. Rows are
rounded to int8 in the same blocks while they are multiplied (``MatMulNBits`` of ONNX Runtime), so
one large input spoils its own block only. With many rows `Int8Products` are faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from liteasr.export.graph import CONTRIB, Graph
from liteasr.export.products import Affine, Rows

__all__ = ["BlockProducts"]

REACH = 127  # of int8
SMALLEST_BLOCK = 16  # that ONNX Runtime takes
INT8_ARITHMETIC = 4  # its name for rows in int8


class BlockProducts:
    """Weights of ``bits`` with a scale for every ``block`` inputs.

    Args:
        bits: 8 or 4.
        block: A power of two, 16 or more; long ones need fewer scales, short ones round less.
    """

    def __init__(self, bits: Literal[4, 8] = 8, block: int = 128) -> None:
        self.bits = bits
        self.block = block

    def chain(self, graph: Graph, x: str, parts: Sequence[Affine], *, rows: Rows = "alike") -> str:
        """Add one map after another."""
        for part in parts:
            inputs, outputs = part.weight.shape
            block = min(self.block, max(SMALLEST_BLOCK, 1 << (inputs - 1).bit_length()))
            quantized, scales = _blocks(part.weight.T, self.bits, block)
            weight = graph.weight(f"{part.name}.weight_{self.bits}bits", quantized)
            scale = graph.weight(f"{part.name}.scales_{self.bits}bits", scales)
            bias = "" if part.bias is None else graph.weight(f"{part.name}.bias", part.bias)
            x = graph.node(
                "MatMulNBits", x, weight, scale, "", "", bias, domain=CONTRIB, K=inputs, N=outputs,
                bits=self.bits, block_size=block, accuracy_level=INT8_ARITHMETIC,
            )  # fmt: skip
        return x

    def columns(self, graph: Graph, indices: str, affine: Affine) -> str:
        """Columns of W in 8 bits, [in, *indices], for indices [batch, tokens]."""
        return graph.node("Transpose", self.rows(graph, indices, affine), perm=[2, 0, 1])

    def rows(self, graph: Graph, indices: str, affine: Affine) -> str:
        """The same columns as rows, which is how they lie: [*indices, in]."""
        sizes = np.maximum(np.abs(affine.weight).max(0), np.finfo(np.float32).tiny)
        scales = (sizes / REACH).astype(np.float32)
        rounded = np.round(affine.weight / scales).astype(np.int8).T
        weight = graph.weight(f"{affine.name}.rows", np.ascontiguousarray(rounded))
        scale = graph.weight(f"{affine.name}.rows_scale", scales[:, None])
        values = graph.node("Cast", graph.node("Gather", weight, indices), to=1)  # float32
        return graph.node("Mul", values, graph.node("Gather", scale, indices))

    def channel_scales(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """None: blocks are short enough."""


def _blocks(
    weight: Float32[np.ndarray, "out in"], bits: int, block: int
) -> tuple[UInt8[np.ndarray, "out blocks bytes"], Float32[np.ndarray, "out blocks"]]:
    """Numbers and scales as the operator reads them: two 4-bit numbers in a byte, low one first."""
    outputs, inputs = weight.shape
    blocks = -(-inputs // block)
    padded = np.pad(weight, ((0, 0), (0, blocks * block - inputs)))
    parts = padded.reshape(outputs, blocks, block)
    zero = 1 << (bits - 1)  # where the operator is not told
    scales = np.abs(parts).max(-1) / (zero - 1)
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    numbers = (np.round(parts / scales[..., None]) + zero).astype(np.uint8)
    if bits == 4:
        numbers = numbers[..., 0::2] | (numbers[..., 1::2] << 4)
    return numbers, scales
