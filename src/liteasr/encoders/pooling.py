"""Encoders that halve their positions half-way: which can, from which block on, and which do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from liteasr.encoders.registry import MARKED, adapter_for, pooled_from
from liteasr.encoders.whisper import WhisperAdapter
from liteasr.errors import PlanError, UnsupportedModelError
from liteasr.nn import PAIR, pool_pairs, pool_pairs_before_, unpool_pairs_before_

__all__ = [
    "output_pooling",
    "pool_positions_",
    "pooled_like",
    "pooling_",
    "require_poolable",
    "unpool_positions_",
]


def require_poolable(model: Any, block: int) -> None:
    """Check that positions may be pooled from a block on.

    Raises:
        PlanError: There is no such block, or they are pooled already from another one.
        UnsupportedModelError: It is not a Whisper with a decoder, which takes any number of
            positions.
    """
    adapter = adapter_for(model)
    if not isinstance(adapter, WhisperAdapter) or adapter.reader is not None:
        raise UnsupportedModelError(
            "positions are pooled in Whisper's encoder alone, and this is a "
            f"{model.config.model_type!r} model: leave pool_from out"
        )
    encoder = adapter.encoder(model)
    count = len(adapter.blocks(encoder))
    if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < count:
        raise PlanError(f"pool_from must be a block from 0 to {count - 1}, got {block!r}")
    if (found := pooled_from(encoder)) is not None:
        raise PlanError(
            f"the encoder pools from block {found} already: name the original model instead"
        )


def pool_positions_(model: Any, block: int) -> None:
    """Average pairs of positions before a block, in place: it and all later ones see half.

    ::

        h_{k-1} of [seq, width]  →  (h_{2j} + h_{2j+1}) / 2 of [seq / 2, width]  →  block k

    What a later block costs halves, its attention's products become a quarter, and a decoder
    reads half as many keys and values for every token.

    Args:
        model: A recognizer, dense.
        block: The first block that sees pairs.

    Raises:
        PlanError: There is no such block, or positions are pooled already.
        UnsupportedModelError: Nothing is known of pooling in such a model.
    """
    require_poolable(model, block)
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    pool_pairs_before_(encoder.get_submodule(adapter.blocks(encoder)[block]))
    setattr(encoder, MARKED, block)


def unpool_positions_(encoder: nn.Module) -> None:
    """Show every block of an encoder all positions, in place."""
    if (block := pooled_from(encoder)) is not None:
        unpool_pairs_before_(encoder.get_submodule(adapter_for(encoder).blocks(encoder)[block]))
        delattr(encoder, MARKED)


@contextmanager
def pooling_(model: Any, block: int | None) -> Iterator[None]:
    """Pool positions, where a block is given, for good unless the body fails; see above."""
    if block is not None:
        pool_positions_(model, block)
    try:
        yield
    except BaseException:
        if block is not None:
            unpool_positions_(adapter_for(model).encoder(model))
        raise


def output_pooling(encoder: nn.Module) -> int:
    """How many positions of the input are one of the output."""
    return 1 if pooled_from(encoder) is None else PAIR


def pooled_like(states: Tensor, other: Tensor) -> Tensor:
    """States [batch, seq, width] with as many positions as others have, in pairs if need be."""
    return pool_pairs(states) if states.shape[1] > other.shape[1] else states
