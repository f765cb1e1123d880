"""A convolution over frames as a chain of two thin ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.lowrank import Factors

__all__ = ["LowRankConv1d"]


class LowRankConv1d(nn.Module):
    """y = up(down(x)): down [rank, in, kernel] without a bias, up [out, rank, 1] with one.

    The first factor sees the same frames as the convolution did, the second one none but its own,
    so that the two are the chain of the matrix from all that a frame sees to its output. It *has*
    two ordinary ``nn.Conv1d``: what holds features on axis 1 would need two transpositions for a
    linear layer.

    Reference: LiteASR (arXiv:2502.20583), section 3, for the linear case.
    """

    def __init__(self, like: nn.Conv1d, rank: int, *, dtype: torch.dtype | None = None) -> None:
        """A chain without values, on the meta device, in place of a convolution.

        Raises:
            ValueError: ``rank`` is below 1.
        """
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.rank = rank
        self.down = _of_shape(like, rank, bias=False, dtype=dtype)
        self.up = nn.Conv1d(rank, like.out_channels, 1, device="meta", dtype=dtype)

    @classmethod
    def from_factors(cls, like: nn.Conv1d, factors: Factors) -> LowRankConv1d:
        """Wrap factors; they keep their device and dtype."""
        layer = cls(like, len(factors.down))
        layer.down.weight = nn.Parameter(factors.down.reshape(layer.down.weight.shape))
        layer.up.weight = nn.Parameter(factors.up.unsqueeze(-1))
        layer.up.bias = nn.Parameter(factors.bias)
        return layer

    @property
    def in_channels(self) -> int:
        """As the convolution had."""
        return self.down.in_channels

    @property
    def out_channels(self) -> int:
        """As the convolution had."""
        return self.up.out_channels

    @property
    def stride(self) -> tuple[int, ...]:
        """As the convolution had."""
        return self.down.stride

    def forward(self, x: Float[Tensor, "batch in frames"]) -> Float[Tensor, "batch out moved"]:
        """Apply both factors."""
        projected: Tensor = self.up(self.down(x))
        return projected

    def merged(self) -> nn.Conv1d:
        """The same map as one dense convolution, W = up·down."""
        down = self.down.weight.detach()
        weight = (self.up.weight.detach()[..., 0] @ down.flatten(1)).reshape(-1, *down.shape[1:])
        layer = _of_shape(self.down, self.out_channels, bias=True)
        assert self.up.bias is not None
        layer.weight = nn.Parameter(weight)
        layer.bias = nn.Parameter(self.up.bias.detach().clone())
        return layer

    def extra_repr(self) -> str:
        """Show the three sizes."""
        return f"{self.in_channels} -> {self.rank} -> {self.out_channels}"


def _of_shape(
    like: nn.Conv1d, out_channels: int, *, bias: bool, dtype: torch.dtype | None = None
) -> nn.Conv1d:
    """A convolution of the same frames without values, on the meta device."""
    kernel, stride, padding = (
        value if isinstance(value, str) else value[0]
        for value in (like.kernel_size, like.stride, like.padding)
    )
    return nn.Conv1d(
        like.in_channels, out_channels, kernel, stride, padding,  # type: ignore[arg-type]
        bias=bias, device="meta", dtype=dtype,
    )  # fmt: skip
