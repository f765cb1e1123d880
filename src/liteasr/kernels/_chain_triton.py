"""Two thin layers as one Triton kernel: the inner features of a block of rows never leave the chip.

Each program makes the inner features of its rows and then walks along the outputs. Where rows are
few, SPLIT programs share the outputs and each makes the inner features again. The rank is padded
inside, to two powers of two where that wastes less.
"""

from __future__ import annotations

import triton
import triton.language as tl

from liteasr.kernels._blocks_triton import dot, load, store

__all__ = ["chain_kernel"]


@triton.jit
def _inner(
    x, rows, x_row, x_col, count, x_width, down, rank,
    FIRST: tl.constexpr, RANK: tl.constexpr, WIDEN: tl.constexpr,
    ROWS: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """Columns FIRST to FIRST + RANK of down x."""
    factors = FIRST + tl.arange(0, RANK)
    made = tl.zeros([ROWS, RANK], tl.float32)
    for deep in range(0, x_width, DEEP):
        block = load(x, rows, x_row, count, deep, x_col, x_width, DEEP)
        part = load(down, factors, x_width, rank, deep, 1, x_width, DEEP)
        made = dot(block, tl.trans(part), made, WIDEN)
    return made.to(down.dtype.element_ty)


@triton.jit
def chain_kernel(
    x, down, up, bias, out, x_row, x_col, out_row,
    count, x_width, rank, out_width,
    RANK: tl.constexpr, RANK_TAIL: tl.constexpr, GELU: tl.constexpr, WIDEN: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, DEEP: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """A share of the outputs of some rows."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inner = _inner(x, rows, x_row, x_col, count, x_width, down, rank,
                   0, RANK, WIDEN, ROWS, DEEP)  # fmt: skip
    inner_tail = inner
    if RANK_TAIL > 0:
        inner_tail = _inner(x, rows, x_row, x_col, count, x_width, down, rank,
                            RANK, RANK_TAIL, WIDEN, ROWS, DEEP)  # fmt: skip
    for first in range(tl.program_id(1) * COLS, out_width, SPLIT * COLS):
        cols = first + tl.arange(0, COLS)
        y = tl.zeros([ROWS, COLS], tl.float32)
        y += tl.load(bias + cols, cols < out_width, other=0.0).to(tl.float32)[None, :]
        part = load(up, cols, rank, out_width, 0, 1, rank, RANK)
        y = dot(inner, tl.trans(part), y, WIDEN)
        if RANK_TAIL > 0:
            part = load(up, cols, rank, out_width, RANK, 1, rank, RANK_TAIL)
            y = dot(inner_tail, tl.trans(part), y, WIDEN)
        if GELU:
            y = 0.5 * y * (1.0 + tl.erf(y * 0.7071067811865476))
        store(out, y, rows, out_row, count, first, out_width, COLS)
