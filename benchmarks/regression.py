"""Linear layers fitted to what they should put out, on inputs that are not the original ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from liteasr.lowrank import Affine, Moments

__all__ = ["CrossMoments", "regress"]


@dataclass(slots=True)
class CrossMoments:
    """Moments of inputs x and products with targets t, in float64: all that regression needs.

    Attributes:
        inputs: Moments of x.
        total: Sum of t, [out].
        products: Sum of t xᵀ, [out, in].
    """

    inputs: Moments
    total: Float64[Tensor, "out"]
    products: Float64[Tensor, "out in"]

    @classmethod
    def empty(
        cls, in_features: int, out_features: int, *, device: torch.device | str | None = None
    ) -> CrossMoments:
        """Moments of no vectors at all."""
        return cls(
            inputs=Moments.empty(in_features, device=device),
            total=torch.zeros(out_features, dtype=torch.float64, device=device),
            products=torch.zeros(out_features, in_features, dtype=torch.float64, device=device),
        )

    @property
    def target_mean(self) -> Float64[Tensor, "out"]:
        """E[t]."""
        return self.total / self.inputs.count

    @property
    def covariance(self) -> Float64[Tensor, "out in"]:
        """E[(t - E[t])(x - E[x])ᵀ]."""
        return self.products / self.inputs.count - torch.outer(self.target_mean, self.inputs.mean)

    def update_(
        self, inputs: Float[Tensor, "*frames in"], targets: Float[Tensor, "*frames out"]
    ) -> None:
        """Add pairs of vectors in place."""
        x = inputs.detach().reshape(-1, inputs.shape[-1]).to(torch.float64)
        t = targets.detach().reshape(-1, targets.shape[-1]).to(torch.float64)
        self.inputs.update_(x)
        self.total += t.sum(dim=0)
        self.products.addmm_(t.T, x)


def regress(moments: CrossMoments, prior: Affine, *, ridge: float = 1e-3) -> Affine:
    """The affine map that comes closest to the targets, held to a prior where data say little.

    A = W + C_ex (C_x + ε I)⁻¹ with W the prior's matrix, C_ex = C_tx - W C_x the covariance of
    what it misses with the inputs, and ε = ridge · tr C_x / in; c = E[t] - A E[x]. The minimum of
    E‖t - A x - c‖² + ε ‖A - W‖².

    Raises:
        ValueError: ``ridge`` is not above 0.
    """
    if ridge <= 0:
        raise ValueError(f"ridge must be above 0, got {ridge}")
    weight = prior.weight.detach().to(torch.float64)
    covariance = moments.inputs.covariance
    missed = moments.covariance - weight @ covariance
    damped = covariance + torch.eye(len(covariance)).to(covariance) * (
        ridge * covariance.diagonal().mean()
    )
    change = torch.linalg.solve(damped, missed.T).T
    fitted = weight + change
    bias = moments.target_mean - fitted @ moments.inputs.mean
    return Affine(fitted, bias)
