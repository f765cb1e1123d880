"""The principal components of a linear layer's output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from liteasr.lowrank.moments import Moments

__all__ = ["Spectrum"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spectrum:
    """PCA of an output y: mean, components and their variances, largest first.

    Attributes:
        mean: E[y], [out].
        components: Orthonormal columns V, [out, n]; n may be cut (`truncated`).
        variances: Eigenvalues λ of the covariance of y, [all], all of them, sorted down.
    """

    mean: Float64[Tensor, "out"]
    components: Float64[Tensor, "out n"]
    variances: Float64[Tensor, "all"]

    @classmethod
    def from_output_moments(cls, moments: Moments) -> Spectrum:
        """PCA of vectors whose own moments are known: C_y = V Λ Vᵀ.

        Reference: LiteASR (arXiv:2502.20583), section 3.
        """
        variances, components = torch.linalg.eigh(moments.covariance)
        return cls(
            mean=moments.mean,
            components=components.flip(-1).contiguous(),
            variances=variances.flip(-1).clamp_min(0.0),
        )

    @classmethod
    def from_input_moments(
        cls,
        moments: Moments,
        weight: Float[Tensor, "out in"],
        bias: Float[Tensor, "out"] | None,
    ) -> Spectrum:
        """PCA of y = W x + b from the moments of x, since C_y = W C_x Wᵀ.

        With C_x = Q Λ Qᵀ, the singular vectors of W Q Λ^½ are the components of y and the
        squared singular values their variances; C_y [out, out] is never formed. Layers that
        read the same x (q, k and v) share one set of moments.
        """
        matrix = weight.detach().to(torch.float64)
        eigenvalues, basis = torch.linalg.eigh(moments.covariance)
        root = basis * eigenvalues.clamp_min(0.0).sqrt()
        components, singular, _ = torch.linalg.svd(matrix @ root, full_matrices=False)
        mean = matrix @ moments.mean
        if bias is not None:
            mean = mean + bias.detach().to(torch.float64)
        return cls(mean=mean, components=components, variances=singular.square())

    @property
    def total_variance(self) -> float:
        """Σ λ_i, the energy of the centred output."""
        return float(self.variances.sum())

    def explained(self, rank: int) -> float:
        """Share of the variance that the first ``rank`` components keep, in [0, 1]."""
        total = self.total_variance
        return float(self.variances[:rank].sum()) / total if total > 0 else 1.0

    def effective_rank(self) -> float:
        """exp(H(λ / Σ λ)) with entropy H: how many directions the output really uses.

        Reference: Roy and Vetterli, The effective rank (EUSIPCO 2007).
        """
        total = self.total_variance
        if total == 0:
            return 0.0
        share = self.variances / total
        share = share[share > 0]
        return float(torch.exp(-(share * share.log()).sum()))

    def truncated(self, rank: int) -> Spectrum:
        """The same spectrum with only the first ``rank`` components kept in memory."""
        return Spectrum(
            mean=self.mean,
            components=self.components[:, :rank].clone(),
            variances=self.variances,
        )
