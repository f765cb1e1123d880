"""The principal components of a linear layer's output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from liteasr.lowrank.metric import Metric
from liteasr.lowrank.moments import Moments

__all__ = ["Spectrum"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spectrum:
    """PCA of an output y: mean, components and their variances, largest first.

    y ≈ E[y] + U_k V_kᵀ (y - E[y]) is the best approximation of rank k, in the metric that was
    given. In the plain one U = V is orthonormal; in a metric G it is PCA of G^½ y, with Q its
    components, U = G^-½ Q and V = G^½ Q.

    Attributes:
        mean: E[y], [out].
        components: Columns U, [out, n]; n may be cut (`truncated`).
        readers: Columns V, [out, n]; Vᵀ U = I.
        variances: Eigenvalues λ of the covariance of y, or of G^½ y, [all], all of them, sorted
            down.
    """

    mean: Float64[Tensor, "out"]
    components: Float64[Tensor, "out n"]
    readers: Float64[Tensor, "out n"]
    variances: Float64[Tensor, "all"]

    @classmethod
    def from_output_moments(cls, moments: Moments, metric: Metric | None = None) -> Spectrum:
        """PCA of vectors whose own moments are known: C_y = Q Λ Qᵀ.

        Reference: LiteASR (arXiv:2502.20583), section 3.
        """
        covariance = moments.covariance
        if metric is not None:
            covariance = metric.weigh(metric.weigh(covariance).T)
        variances, basis = torch.linalg.eigh(covariance)
        return cls._of(moments.mean, basis.flip(-1), variances.flip(-1).clamp_min(0.0), metric)

    @classmethod
    def from_input_moments(
        cls,
        moments: Moments,
        weight: Float[Tensor, "out in"],
        bias: Float[Tensor, "out"] | None,
        metric: Metric | None = None,
    ) -> Spectrum:
        """PCA of y = W x + b from the moments of x, since C_y = W C_x Wᵀ.

        With C_x = Q Λ Qᵀ, the singular vectors of W Q Λ^½ are the components of y and the
        squared singular values their variances; C_y [out, out] is never formed. Layers that
        read the same x (q, k and v) share one set of moments.
        """
        matrix = weight.detach().to(torch.float64)
        eigenvalues, basis = torch.linalg.eigh(moments.covariance)
        root = basis * eigenvalues.clamp_min(0.0).sqrt()
        weighed = matrix if metric is None else metric.weigh(matrix)
        found, singular, _ = torch.linalg.svd(weighed @ root, full_matrices=False)
        mean = matrix @ moments.mean
        if bias is not None:
            mean = mean + bias.detach().to(torch.float64)
        return cls._of(mean, found, singular.square(), metric)

    @classmethod
    def _of(cls, mean: Tensor, found: Tensor, variances: Tensor, metric: Metric | None) -> Spectrum:
        """From orthonormal components of G^½ y."""
        components = found.contiguous()
        readers = components
        if metric is not None:
            components, readers = metric.restore(found), metric.weigh(found)
        return cls(mean=mean, components=components, readers=readers, variances=variances)

    @property
    def total_variance(self) -> float:
        """Σ λ_i, the energy of the centred output."""
        return float(self.variances.sum())

    @property
    def energies(self) -> Float64[Tensor, "out n"]:
        """Energy of every component in every output, λ_i U_ji V_ji: over outputs it adds to λ_i."""
        return self.components * self.readers * self._known

    @property
    def _known(self) -> Float64[Tensor, "n"]:
        """Variances of the components at hand."""
        return self.variances[: self.components.shape[1]]

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

    def of_outputs(self, which: Int[Tensor, "some"]) -> Spectrum:
        """PCA of some of the outputs alone, in the diagonal of the metric.

        With Q the components of G^½ y and Λ their variances, the left singular vectors of the
        chosen rows of Q Λ^½.
        """
        components, readers = self.components[which], self.readers[which]
        # G^½, since U = G^-½ Q and V = G^½ Q; an output that never moves has none
        roots = (readers.norm(dim=1) / components.norm(dim=1)).sqrt().nan_to_num(1.0)[:, None]
        rows = roots * components * self._known.sqrt()
        found, singular, _ = torch.linalg.svd(rows, full_matrices=False)
        return Spectrum(
            mean=self.mean[which],
            components=found / roots,
            readers=found * roots,
            variances=singular.square(),
        )

    def truncated(self, rank: int) -> Spectrum:
        """The same spectrum with only the first ``rank`` components kept in memory."""
        components = self.components[:, :rank].clone()
        plain = self.readers is self.components
        return Spectrum(
            mean=self.mean,
            components=components,
            readers=components if plain else self.readers[:, :rank].clone(),
            variances=self.variances,
        )
