"""What an error of a layer's output costs, by direction: a metric of gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

__all__ = ["Gradients", "Metric"]

FLOOR = 0.1  # of the plain metric: a direction that few windows moved is not free


@dataclass(slots=True)
class Gradients:
    """Count and sum of g gᵀ, or of its diagonal alone, of gradients seen so far, in float64.

    Those of disjoint parts add up, as moments do.

    Attributes:
        count: Number of vectors seen.
        products: Sum of g gᵀ, [out, out], or of g², [out].
    """

    count: int
    products: Float64[Tensor, "*out out"]

    @classmethod
    def of(cls, vectors: Float[Tensor, "*seq out"], *, diagonal: bool = False) -> Gradients:
        """Those of the given vectors."""
        rows = vectors.detach().reshape(-1, vectors.shape[-1]).to(torch.float64)
        return cls(len(rows), rows.square().sum(0) if diagonal else rows.T @ rows)

    def is_finite(self) -> bool:
        """Whether no NaN or Inf has been added."""
        return bool(torch.isfinite(self.products).all())

    def __add__(self, other: Gradients) -> Gradients:
        """Those of both parts."""
        return Gradients(self.count + other.count, self.products + other.products)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """eᵀ G e in place of ‖e‖², for an error e of a layer's output.

    Attributes:
        root: G^½, symmetric, [out, out], or the diagonal of one that is diagonal, [out].
        inverse: G^-½, the same.
    """

    root: Float64[Tensor, "*out out"]
    inverse: Float64[Tensor, "*out out"]

    @classmethod
    def of(cls, gradients: Gradients) -> Metric:
        """G = 0.9 E[g gᵀ] / mean diag E[g gᵀ] + 0.1 I, with the gradients g.

        With g the gradient of random readings of the encoder's output, E[(gᵀ e)²] is how far that
        output moves, to first order. Directions that nothing reads cost a tenth, not nothing, since
        the gradients are of a few windows only.
        """
        gram = gradients.products / max(1, gradients.count)
        if gram.ndim == 1:
            roots = _roots(gram)
            return cls(root=roots, inverse=1 / roots)
        values, basis = torch.linalg.eigh(gram)
        roots = _roots(values)
        return cls(root=(basis * roots) @ basis.T, inverse=(basis / roots) @ basis.T)

    def weigh(self, vectors: Float64[Tensor, "*b out n"]) -> Float64[Tensor, "*b out n"]:
        """G^½ x for columns x, whose plain squares are those of x in the metric."""
        return _times(self.root, vectors)

    def restore(self, vectors: Float64[Tensor, "*b out n"]) -> Float64[Tensor, "*b out n"]:
        """G^-½ x: the inverse of `weigh`."""
        return _times(self.inverse, vectors)


def _roots(values: Float64[Tensor, "out"]) -> Float64[Tensor, "out"]:
    """Of eigenvalues over their mean, which is that of the diagonal, with the floor."""
    mean = values.mean()
    # where nothing behind the layer reads it every direction is alike
    shares = values.clamp_min(0.0) / mean if mean > 0 else torch.ones_like(values)
    return ((1 - FLOOR) * shares + FLOOR).sqrt()


def _times(matrix: Tensor, vectors: Tensor) -> Tensor:
    return matrix @ vectors if matrix.ndim == 2 else matrix.unsqueeze(-1) * vectors
