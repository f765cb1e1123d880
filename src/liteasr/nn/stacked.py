"""Layers that read the same input, with their first products in one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.nn.linear import LowRankLinear

__all__ = ["StackedProjections"]


class StackedProjections(nn.Module):
    """The outputs of several layers for one input, by one wide product where each made its own.

    A dense layer is part of that product as it is. Of a chain it is ``down``; ``up`` follows,
    unless the chain is ``open``: then its inner features are what comes out.

    Args:
        layers: Dense layers and chains with one ``in``. Their first weights are copied.
        open_chains: Places of the chains that stay without their second factor.

    Raises:
        TypeError: A layer is neither dense nor a chain.
    """

    def __init__(self, layers: Sequence[nn.Module], *, open_chains: Sequence[int] = ()) -> None:
        super().__init__()
        firsts = [_first(layer) for layer in layers]
        self.widths = [first.out_features for first in firsts]
        self.ups = nn.ModuleList(
            layer.up if isinstance(layer, LowRankLinear) and i not in open_chains else nn.Identity()
            for i, layer in enumerate(layers)
        )
        bias = any(first.bias is not None for first in firsts)
        self.first = nn.Linear(firsts[0].in_features, sum(self.widths), bias, device="meta")
        self.first.weight = nn.Parameter(torch.cat([f.weight.detach() for f in firsts]))
        if bias:
            self.first.bias = nn.Parameter(torch.cat([_bias(first) for first in firsts]))

    def forward(self, x: Float[Tensor, "*batch in"]) -> tuple[Tensor, ...]:
        """One output for each layer, in their order."""
        parts = self.first(x).split(self.widths, dim=-1)
        return tuple(up(part) for up, part in zip(self.ups, parts, strict=True))


def _first(layer: nn.Module) -> nn.Linear:
    first = layer.down if isinstance(layer, LowRankLinear) else layer
    if not isinstance(first, nn.Linear):
        raise TypeError(f"only dense layers and chains can be stacked, got {type(first).__name__}")
    return first


def _bias(layer: nn.Linear) -> Tensor:
    missing = layer.weight.new_zeros(layer.out_features)
    return missing if layer.bias is None else layer.bias.detach()
