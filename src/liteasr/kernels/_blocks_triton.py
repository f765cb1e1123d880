"""Reading, multiplying and writing blocks of matrices: what the kernels are made of."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["dot", "load", "store"]


@triton.jit
def load(base, rows, row_stride, row_limit, first, col_stride, col_limit, WIDTH: tl.constexpr):
    """[rows, WIDTH] from column ``first`` on, zero outside."""
    cols = first + tl.arange(0, WIDTH)
    places = base + rows[:, None] * row_stride + cols[None, :] * col_stride
    return tl.load(places, (rows[:, None] < row_limit) & (cols[None, :] < col_limit), other=0.0)


@triton.jit
def dot(a, b, total, WIDEN: tl.constexpr):
    """A product summed in float32; the interpreter has no bfloat16 and needs them widened."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision="ieee")


@triton.jit
def store(base, block, rows, row_stride, row_limit, first, col_limit, WIDTH: tl.constexpr):
    """Write a block from column ``first`` on, nothing outside; columns lie side by side."""
    cols = first + tl.arange(0, WIDTH)
    inside = (rows[:, None] < row_limit) & (cols[None, :] < col_limit)
    places = base + rows[:, None] * row_stride + cols[None, :]
    tl.store(places, block.to(base.dtype.element_ty), inside)
