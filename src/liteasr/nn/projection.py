"""Linear layers and convolutions over frames, which are the same map of what a frame sees."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.lowrank import Factors
from liteasr.nn.convolution import LowRankConv1d
from liteasr.nn.linear import LowRankLinear

__all__ = [
    "affine_of",
    "chain_of",
    "empty_chain",
    "from_vectors",
    "is_projection",
    "sizes_of",
    "to_vectors",
]


def is_projection(module: nn.Module) -> bool:
    """Whether a module maps every frame by one matrix: a linear layer or a 1x1 convolution."""
    if isinstance(module, nn.Conv1d):
        trivial = (module.kernel_size, module.stride, module.groups) == ((1,), (1,), 1)
        return trivial and module.padding == (0,)
    return isinstance(module, nn.Linear)


def sizes_of(module: Any) -> tuple[int, int]:
    """Width of x, for a convolution of all frames that it sees at once, and of y."""
    if isinstance(module, LowRankConv1d):
        return module.in_channels * module.down.kernel_size[0], module.out_channels
    if isinstance(module, nn.Conv1d):
        return module.in_channels * module.kernel_size[0], module.out_channels
    return module.in_features, module.out_features


def affine_of(module: Any) -> tuple[Float[Tensor, "out in"], Float[Tensor, "out"] | None]:
    """W and b of y = W x + b; no b where the layer has none."""
    weight: Tensor = module.weight
    return weight.flatten(1), module.bias


def to_vectors(module: nn.Module, activations: Tensor) -> Float[Tensor, "batch *seq width"]:
    """What enters or leaves a module, frame by frame: convolutions hold features on axis 1."""
    if isinstance(module, nn.Conv1d | LowRankConv1d):
        return activations.transpose(1, 2)
    return activations


def from_vectors(module: nn.Module, vectors: Float[Tensor, "batch *seq width"]) -> Tensor:
    """The inverse of `to_vectors`."""
    return to_vectors(module, vectors)


def chain_of(module: nn.Module, factors: Factors) -> LowRankLinear | LowRankConv1d:
    """Two thin layers of the same kind in place of a projection."""
    if isinstance(module, nn.Conv1d):
        return LowRankConv1d.from_factors(module, factors)
    return LowRankLinear.from_factors(factors)


def empty_chain(
    module: nn.Module, rank: int, *, dtype: torch.dtype
) -> LowRankLinear | LowRankConv1d:
    """The same without values, to be filled from a checkpoint."""
    if isinstance(module, nn.Conv1d):
        return LowRankConv1d(module, rank, dtype=dtype)
    return LowRankLinear(*sizes_of(module), rank, dtype=dtype, device="meta")
