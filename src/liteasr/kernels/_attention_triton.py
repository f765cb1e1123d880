"""Flash-style attention for heads of any width, as one Triton kernel.

Scores are never written: blocks of keys pass by while the softmax is kept up to date, in float32.
A width is padded inside, to two powers of two where that wastes less (48 is 32 + 16, not 64).
M_h and W_v2ʰ are applied inside too, so a folded attention reads q₁, k₁ and v₁ and writes outputs.

Reference: FlashAttention-2 (arXiv:2307.08691); LiteASR (arXiv:2502.20583), section 3.
"""

from __future__ import annotations

import triton
import triton.language as tl

from liteasr.kernels._blocks_triton import dot, load, store

__all__ = ["attention_kernel"]


@triton.jit
def _scores(
    query, query_tail, key, keys_at, key_row, key_col, keys, key_width, factor,
    mask, rows, mask_row, mask_key, queries,
    KEY: tl.constexpr, KEY_TAIL: tl.constexpr, MASK: tl.constexpr, ENDS: tl.constexpr,
    WIDEN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Q Kᵀ for one block of keys, -inf where there is none; with a mask factor · Q Kᵀ + mask."""
    block = tl.zeros([ROWS, COLS], tl.float32)
    part = load(key, keys_at, key_row, keys, 0, key_col, key_width, KEY)
    block = dot(query, tl.trans(part), block, WIDEN)
    if KEY_TAIL > 0:
        part = load(key, keys_at, key_row, keys, KEY, key_col, key_width, KEY_TAIL)
        block = dot(query_tail, tl.trans(part), block, WIDEN)
    if MASK != "none":
        block *= factor
        places = mask + rows[:, None] * mask_row + keys_at[None, :] * mask_key
        inside = (rows[:, None] < queries) & (keys_at[None, :] < keys)
        seen = tl.load(places, inside, other=0.0)
        if MASK == "added":
            block += seen.to(tl.float32) * 1.4426950408889634
        else:
            block = tl.where(seen != 0, block, float("-inf"))
    if ENDS:
        block = tl.where(keys_at[None, :] < keys, block, float("-inf"))
    return block


@triton.jit
def _pass_keys(
    out, out_tail, best, total, query, query_tail, start, stop, factor,
    key, key_row, key_col, key_width, value, value_row, value_col, value_width,
    mask, mask_row, mask_key, rows, queries, keys,
    KEY: tl.constexpr, KEY_TAIL: tl.constexpr, VALUE: tl.constexpr, VALUE_TAIL: tl.constexpr,
    MASK: tl.constexpr, ENDS: tl.constexpr, WIDEN: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Let the blocks of keys from ``start`` to ``stop`` pass; ENDS: the last one may be short."""
    for first in range(start, stop, COLS):
        keys_at = first + tl.arange(0, COLS)
        block = _scores(
            query, query_tail, key, keys_at, key_row, key_col, keys, key_width, factor,
            mask, rows, mask_row, mask_key, queries,
            KEY, KEY_TAIL, MASK, ENDS, WIDEN, ROWS, COLS,
        )  # fmt: skip
        if MASK == "none":
            better = tl.maximum(best, tl.max(block, 1) * factor)
            shift = better
            share = tl.exp2(block * factor - shift[:, None])  # one instruction each
        else:
            better = tl.maximum(best, tl.max(block, 1))
            shift = tl.where(better == float("-inf"), 0.0, better)  # no key was seen so far
            share = tl.exp2(block - shift[:, None])
        decay = tl.exp2(best - shift)
        best = better
        total = total * decay + tl.sum(share, 1)
        part = load(value, keys_at, value_row, keys, 0, value_col, value_width, VALUE)
        out = dot(share.to(part.dtype), part, out * decay[:, None], WIDEN)
        if VALUE_TAIL > 0:
            part = load(value, keys_at, value_row, keys, VALUE, value_col, value_width, VALUE_TAIL)
            out_tail = dot(share.to(part.dtype), part, out_tail * decay[:, None], WIDEN)
    return out, out_tail, best, total


@triton.jit
def _queries(
    query, rows, query_row, query_col, query_width, queries, fold, fold_bias, key_width,
    QUERY: tl.constexpr, FIRST: tl.constexpr, WIDTH: tl.constexpr, FOLD: tl.constexpr,
    WIDEN: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Columns FIRST to FIRST + WIDTH of a head's own queries: as they are, or q₁ᵀ M_h + bias."""
    if FOLD:
        shared = load(query, rows, query_row, queries, 0, query_col, query_width, QUERY)
        deep, cols = tl.arange(0, QUERY), FIRST + tl.arange(0, WIDTH)
        part = load(fold, deep, key_width, query_width, FIRST, 1, key_width, WIDTH)
        own = dot(shared, part, tl.zeros([ROWS, WIDTH], tl.float32), WIDEN)
        own += tl.load(fold_bias + cols, cols < key_width, other=0.0).to(tl.float32)[None, :]
        return own.to(shared.dtype)
    return load(query, rows, query_row, queries, FIRST, query_col, query_width, WIDTH)


@triton.jit
def _finish(
    out, rows, out_row, queries, summed, summed_tail, value_width, unfold, unfold_bias, out_width,
    VALUE: tl.constexpr, VALUE_TAIL: tl.constexpr, OUT: tl.constexpr, UNFOLD: tl.constexpr,
    WIDEN: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write a head's output: the weighted sums as they are, or W_v2ʰ u + b_vʰ."""
    if UNFOLD:
        cols = tl.arange(0, OUT)
        made = tl.zeros([ROWS, OUT], tl.float32)
        made += tl.load(unfold_bias + cols, cols < out_width, other=0.0).to(tl.float32)[None, :]
        part = load(unfold, cols, value_width, out_width, 0, 1, value_width, VALUE)
        made = dot(summed.to(part.dtype), tl.trans(part), made, WIDEN)
        if VALUE_TAIL > 0:
            part = load(unfold, cols, value_width, out_width, VALUE, 1, value_width, VALUE_TAIL)
            made = dot(summed_tail.to(part.dtype), tl.trans(part), made, WIDEN)
        store(out, made, rows, out_row, queries, 0, out_width, OUT)
    else:
        store(out, summed, rows, out_row, queries, 0, out_width, VALUE)
        if VALUE_TAIL > 0:
            store(out, summed_tail, rows, out_row, queries, VALUE, out_width, VALUE_TAIL)


@triton.jit
def attention_kernel(
    query, key, value, out, mask, fold, fold_bias, unfold, unfold_bias,
    query_batch, query_head, query_row, query_col, key_batch, key_head, key_row, key_col,
    value_batch, value_head, value_row, value_col, mask_batch, mask_head, mask_row, mask_key,
    out_batch, out_head, out_row,
    heads, queries, keys, query_width, key_width, value_width, out_width, factor,
    QUERY: tl.constexpr, KEY: tl.constexpr, KEY_TAIL: tl.constexpr,
    VALUE: tl.constexpr, VALUE_TAIL: tl.constexpr, OUT: tl.constexpr,
    FOLD: tl.constexpr, UNFOLD: tl.constexpr, MASK: tl.constexpr, WIDEN: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Rows of one head's queries against all keys."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    batch, head = (tl.program_id(1) // heads).to(tl.int64), (tl.program_id(1) % heads).to(tl.int64)
    query += batch * query_batch + head * query_head
    key += batch * key_batch + head * key_head
    value += batch * value_batch + head * value_head
    mask += batch * mask_batch + head * mask_head
    out += batch * out_batch + head * out_head
    fold += head * query_width * key_width
    fold_bias += head * key_width
    unfold += head * out_width * value_width
    unfold_bias += head * out_width
    first = _queries(
        query, rows, query_row, query_col, query_width, queries, fold, fold_bias, key_width,
        QUERY, 0, KEY, FOLD, WIDEN, ROWS,
    )  # fmt: skip
    tail = first
    if KEY_TAIL > 0:
        tail = _queries(
            query, rows, query_row, query_col, query_width, queries, fold, fold_bias, key_width,
            QUERY, KEY, KEY_TAIL, FOLD, WIDEN, ROWS,
        )  # fmt: skip
    summed = tl.zeros([ROWS, VALUE], tl.float32)
    summed_tail = tl.zeros([ROWS, VALUE_TAIL if VALUE_TAIL > 0 else 1], tl.float32)
    best = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    whole = keys // COLS * COLS
    summed, summed_tail, best, total = _pass_keys(
        summed, summed_tail, best, total, first, tail, 0, whole, factor,
        key, key_row, key_col, key_width, value, value_row, value_col, value_width,
        mask, mask_row, mask_key, rows, queries, keys,
        KEY, KEY_TAIL, VALUE, VALUE_TAIL, MASK, False, WIDEN, ROWS, COLS,
    )  # fmt: skip
    summed, summed_tail, best, total = _pass_keys(
        summed, summed_tail, best, total, first, tail, whole, keys, factor,
        key, key_row, key_col, key_width, value, value_row, value_col, value_width,
        mask, mask_row, mask_key, rows, queries, keys,
        KEY, KEY_TAIL, VALUE, VALUE_TAIL, MASK, True, WIDEN, ROWS, COLS,
    )  # fmt: skip
    share = 1.0 / tl.where(total == 0.0, 1.0, total)[:, None]
    _finish(
        out, rows, out_row, queries, summed * share, summed_tail * share, value_width,
        unfold, unfold_bias, out_width, VALUE, VALUE_TAIL, OUT, UNFOLD, WIDEN, ROWS,
    )  # fmt: skip
