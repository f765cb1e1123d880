"""Pooling: the decoder reads pairs of the encoder's positions as one."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

__all__ = ["AUTO_POOLING", "PoolingChoice", "check_pooling", "pooled", "pooling_of"]

PoolingChoice: TypeAlias = int | Literal["auto"]

AUTO_POOLING = 2  # three cost words


def check_pooling(pooling: PoolingChoice) -> None:
    """Refuse what is no choice.

    Raises:
        ValueError: The pooling is neither ``auto`` nor a number from 1 on.
    """
    if pooling == "auto":
        return
    if not isinstance(pooling, int) or isinstance(pooling, bool) or pooling < 1:
        raise ValueError(
            f"pooling must be 'auto' or how many positions become one, got {pooling!r}"
        )


def pooling_of(pooling: PoolingChoice) -> int:
    """Give how many positions become one."""
    return AUTO_POOLING if pooling == "auto" else pooling


def pooled(
    states: Float32[np.ndarray, "batch seq width"], every: int
) -> Float32[np.ndarray, "batch pooled width"]:
    """Replace every ``every`` neighbours by their mean; what is left over at the end is dropped.

    z_j = (1 / n) Σ_{i < n} y_{nj + i}. Neighbours of 20 ms are much alike, and where keys and
    values of n neighbours are the same, attention over their means is the same: softmax weighs
    all positions by n less. The decoder's cross-attention then takes 1 / n of the products and
    of the memory that every token has to read.
    """
    if every == 1:
        return states
    batch, seq, width = states.shape
    every = min(every, seq)
    whole = states[:, : seq // every * every]
    means: np.ndarray = whole.reshape(batch, -1, every, width).mean(axis=2, dtype=np.float32)
    return means
