"""A linear layer as a chain of two thin ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.lowrank import Factors
from liteasr.nn.pivots import pivots_of, without_pivots

__all__ = ["LowRankLinear", "whole"]


class LowRankLinear(nn.Module):
    """y = up(down(x)): down [rank, in] without a bias, up [out, rank] with one.

    It *has* two ordinary ``nn.Linear``, so quantizers, exporters and profilers see layers
    they know.

    Reference: LiteASR (arXiv:2502.20583), section 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.in_features = in_features
        self.out_features = out_features
        self.rank = rank
        self.down = nn.Linear(in_features, rank, bias=False, device=device, dtype=dtype)
        self.up = nn.Linear(rank, out_features, bias=True, device=device, dtype=dtype)

    @classmethod
    def from_factors(cls, factors: Factors) -> LowRankLinear:
        """Wrap factors; they keep their device and dtype."""
        rank, in_features = factors.down.shape
        layer = cls(in_features, factors.up.shape[0], rank, device="meta")
        layer.down.weight = nn.Parameter(factors.down)
        layer.up.weight = nn.Parameter(factors.up)
        layer.up.bias = nn.Parameter(factors.bias)
        return layer

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Apply both factors."""
        projected: Tensor = self.up(self.down(x))
        return projected

    def merged(self) -> nn.Linear:
        """The same map as one dense layer, W = up·down."""
        weight = self.up.weight.detach() @ self.down.weight.detach()
        layer = nn.Linear(self.in_features, self.out_features, device="meta")
        layer.weight = nn.Parameter(weight)
        layer.bias = nn.Parameter(self.up.bias.detach().clone())
        return layer

    def extra_repr(self) -> str:
        """Show the three sizes."""
        return f"{self.in_features} -> {self.rank} -> {self.out_features}"


def whole(layer: nn.Module) -> nn.Module:
    """A linear layer or chain with its weights as they are used, put together where it has pivots.

    Itself where there are none; other modules as they are.
    """
    if not isinstance(layer, LowRankLinear):
        return without_pivots(layer)
    if pivots_of(layer.down) is None and pivots_of(layer.up) is None:
        return layer
    chain = LowRankLinear(layer.in_features, layer.out_features, layer.rank, device="meta")
    chain.down, chain.up = without_pivots(layer.down), without_pivots(layer.up)  # type: ignore[assignment]
    return chain.train(layer.training)
