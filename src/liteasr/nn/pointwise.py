"""A 1x1 convolution as a chain of two thin ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.lowrank import Factors

__all__ = ["LowRankPointwise"]


class LowRankPointwise(nn.Module):
    """y = up(down(x)) on channels: down [rank, in, 1] without a bias, up [out, rank, 1] with one.

    It *has* two ordinary ``nn.Conv1d``: the convolution modules of conformers hold features on
    axis 1, where a linear layer would need two transpositions.

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
        self.down = nn.Conv1d(in_features, rank, 1, bias=False, device=device, dtype=dtype)
        self.up = nn.Conv1d(rank, out_features, 1, device=device, dtype=dtype)

    @classmethod
    def from_factors(cls, factors: Factors) -> LowRankPointwise:
        """Wrap factors; they keep their device and dtype."""
        rank, in_features = factors.down.shape
        layer = cls(in_features, factors.up.shape[0], rank, device="meta")
        layer.down.weight = nn.Parameter(factors.down.unsqueeze(-1))
        layer.up.weight = nn.Parameter(factors.up.unsqueeze(-1))
        layer.up.bias = nn.Parameter(factors.bias)
        return layer

    def forward(self, x: Float[Tensor, "batch in frames"]) -> Float[Tensor, "batch out frames"]:
        """Apply both factors."""
        projected: Tensor = self.up(self.down(x))
        return projected

    def merged(self) -> nn.Conv1d:
        """The same map as one dense convolution, W = up·down."""
        weight = self.up.weight.detach()[..., 0] @ self.down.weight.detach()[..., 0]
        layer = nn.Conv1d(self.in_features, self.out_features, 1, device="meta")
        assert self.up.bias is not None
        layer.weight = nn.Parameter(weight.unsqueeze(-1))
        layer.bias = nn.Parameter(self.up.bias.detach().clone())
        return layer

    def extra_repr(self) -> str:
        """Show the three sizes."""
        return f"{self.in_features} -> {self.rank} -> {self.out_features}"
