"""Pairs of neighbouring positions as one, from some block of an encoder on."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["PAIR", "pool_pairs", "pool_pairs_before_", "unpool_pairs_before_"]

PAIR = 2


def pool_pairs(
    hidden: Float[Tensor, "batch seq width"],
) -> Float[Tensor, "batch half width"]:
    """The mean of every two neighbours; the last of an odd number stands alone.

    z_j = (h_{2j} + h_{2j+1}) / 2. Where two positions are the same, attention to their mean is
    attention to both, as softmax weighs all positions alike by half.
    """
    batch, seq, width = hidden.shape
    if seq % PAIR:
        hidden = torch.cat([hidden, hidden[:, -1:]], dim=1)
    return hidden.reshape(batch, -1, PAIR, width).mean(dim=2)


def pool_pairs_before_(block: nn.Module) -> None:
    """Let a block see half as many positions, and all that follow it; no name changes."""
    block.register_forward_pre_hook(_halved)


def unpool_pairs_before_(block: nn.Module) -> None:
    """Let it see all positions again."""
    hooks = block._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if hook is _halved]:
        del hooks[key]


def _halved(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (pool_pairs(inputs[0]), *inputs[1:])
