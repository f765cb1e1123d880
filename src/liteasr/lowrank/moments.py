"""First and second moments of activations: all the statistics that PCA needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

__all__ = ["Moments"]


@dataclass(slots=True)
class Moments:
    """Count, sum and sum of outer products of vectors seen so far, in float64.

    Memory is dim² whatever the amount of audio, and moments of disjoint parts add up, so
    clips, processes and machines can be combined in any order.

    Attributes:
        count: Number of vectors (frames) seen.
        total: Sum of the vectors, [dim].
        products: Sum of x xᵀ, [dim, dim].
    """

    count: int
    total: Float64[Tensor, "dim"]
    products: Float64[Tensor, "dim dim"]

    @classmethod
    def empty(cls, dim: int, *, device: torch.device | str | None = None) -> Moments:
        """Moments of no vectors at all."""
        return cls(
            count=0,
            total=torch.zeros(dim, dtype=torch.float64, device=device),
            products=torch.zeros(dim, dim, dtype=torch.float64, device=device),
        )

    @classmethod
    def of(cls, vectors: Float[Tensor, "*frames dim"]) -> Moments:
        """Moments of the given vectors."""
        moments = cls.empty(vectors.shape[-1], device=vectors.device)
        moments.update_(vectors)
        return moments

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.total.shape[0]

    @property
    def mean(self) -> Float64[Tensor, "dim"]:
        """E[x]."""
        return self.total / self._counted()

    @property
    def covariance(self) -> Float64[Tensor, "dim dim"]:
        """E[(x - μ)(x - μ)ᵀ], symmetric."""
        mean = self.mean
        centred = self.products / self._counted() - torch.outer(mean, mean)
        return (centred + centred.T) / 2

    def update_(self, vectors: Float[Tensor, "*frames dim"]) -> None:
        """Add vectors in place."""
        rows = vectors.detach().reshape(-1, vectors.shape[-1]).to(torch.float64)
        self.count += rows.shape[0]
        self.total += rows.sum(dim=0)
        self.products.addmm_(rows.T, rows)

    def is_finite(self) -> bool:
        """Whether no NaN or Inf has been added."""
        return bool(torch.isfinite(self.total).all())

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            count=self.count + other.count,
            total=self.total + other.total,
            products=self.products + other.products,
        )

    def _counted(self) -> int:
        if self.count == 0:
            raise ValueError("moments of 0 vectors have no mean: add at least one frame")
        return self.count
