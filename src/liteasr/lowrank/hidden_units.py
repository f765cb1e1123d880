"""Fewer units between the two layers of an MLP, the second one refitted: no extra product.

In y = W a + b with the hidden vector a, what the units that stay say of those that go is moved
into their weights. Both layers become narrower, and nothing is put between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from liteasr.lowrank.joint_attention import Affine
from liteasr.lowrank.moments import Moments

__all__ = ["Elimination", "Halves", "HiddenUnits", "eliminate", "reduce_units"]

Halves = tuple[Moments, Moments]

COUNTED = 64  # losses are counted at multiples of this
STEP = 16  # units that go between two updates of all others
CANDIDATES = 4  # times as many units are compared one by one within a step
RIDGES = (1e-3, 1e-2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Elimination:
    """In which order the units of a hidden layer go, and what that costs.

    Attributes:
        order: Units from the first that goes to the last that stays.
        losses: E‖Δy‖² on audio that was not fitted to, by number of units left. At 0 it is the
            energy of the whole centred output.
        ridge: What was added to the covariance, as a share of its mean diagonal.
    """

    order: tuple[int, ...]
    losses: Mapping[int, float]
    ridge: float


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenUnits:
    """All that one MLP needs to lose units.

    Attributes:
        elimination: Which go, in which order.
        halves: Moments of the hidden vector, in two halves of the audio.
    """

    elimination: Elimination
    halves: Halves

    @classmethod
    def of(
        cls, weight: Float[Tensor, "out hidden"], halves: Halves, known: Elimination | None = None
    ) -> HiddenUnits:
        """With the ridge that serves the half best which was not fitted to.

        Args:
            weight: Of the second layer.
            halves: Moments of the hidden vector.
            known: What this gave before, for the same weight and halves.
        """
        if known is None:
            tried = [eliminate(weight, *halves, ridge=ridge) for ridge in RIDGES]
            known = min(tried, key=lambda one: sum(one.losses.values()))
        return cls(elimination=known, halves=halves)

    def kept(self, count: int) -> Int[Tensor, "count"]:
        """The ``count`` units that were to go last, in the order that they have."""
        order = self.elimination.order[-count:]
        return torch.tensor(sorted(order), device=self.halves[0].mean.device)


def eliminate(
    weight: Float[Tensor, "out hidden"], fitted: Moments, unseen: Moments, *, ridge: float
) -> Elimination:
    """Remove units one by one: always the one whose loss the others make up for best.

    With C = Cov(a) + ε I of the fitted half and B the weights refitted to the units that are
    left, a unit costs ‖B_j‖² / (C⁻¹)_jj. When it goes, B and C⁻¹ lose it too (optimal brain
    surgeon). Losses are counted on the unseen half: on its own half a fit of so many weights
    looks far better than it is.

    Reference: Hassibi and Stork, Second order derivatives for network pruning (NIPS 1992).
    """
    whole = weight.detach().to(torch.float64)
    matrix, inverse = whole, torch.linalg.inv(_damped(fitted.covariance, ridge))
    energy = unseen.covariance
    crossed = whole @ energy
    left = torch.arange(whole.shape[1], device=whole.device)
    order: list[int] = []
    losses: dict[int, float] = {}
    while len(left):
        gone = _cheapest(matrix, inverse, len(left) % STEP or STEP)
        stays = torch.ones(len(left), dtype=torch.bool, device=whole.device)
        stays[gone] = False
        rows = inverse[gone]
        solved = torch.linalg.solve(rows[:, gone], rows[:, stays])
        matrix = matrix[:, stays] - matrix[:, gone] @ solved
        inverse = inverse[stays][:, stays] - rows[:, stays].T @ solved
        order.extend(left[gone].tolist())
        left = left[stays]
        if len(left) % COUNTED == 0:
            # E‖(W - B) a‖² without the product over units that are gone
            squares = (crossed * whole).sum() - 2 * (crossed[:, left] * matrix).sum()
            squares += ((matrix @ energy[left][:, left]) * matrix).sum()
            losses[len(left)] = max(0.0, float(squares))
    return Elimination(order=tuple(order), losses=losses, ridge=ridge)


def reduce_units(
    first: Affine, second: Affine, units: HiddenUnits, count: int
) -> tuple[Affine, Affine]:
    """The two layers with ``count`` units left, those that were to go last.

    With S the units that stay and C as in `eliminate`, over all audio,

        W' = W C[:, S] C[S, S]⁻¹,   b' = b + W E[a] - W' E[a_S]

    Raises:
        ValueError: ``count`` is not between 1 and the number of units.
    """
    limit = len(units.elimination.order)
    if not 1 <= count <= limit:
        raise ValueError(f"units must be between 1 and {limit}, got {count}")
    moments = units.halves[0] + units.halves[1]
    kept = units.kept(count)
    weight, bias = (part.detach().to(torch.float64) for part in second)
    damped = _damped(moments.covariance, units.elimination.ridge)
    refitted = torch.linalg.solve(damped[kept][:, kept], (weight @ damped[:, kept]).T).T
    offset = bias + weight @ moments.mean - refitted @ moments.mean[kept]
    dtype = second.weight.dtype
    return (
        Affine(first.weight.detach()[kept], first.bias.detach()[kept]),
        Affine(refitted.to(dtype).contiguous(), offset.to(dtype)),
    )


def _damped(covariance: Float64[Tensor, "n n"], ridge: float) -> Float64[Tensor, "n n"]:
    damping = ridge * covariance.diagonal().mean().clamp_min(1e-12)  # constant vectors have none
    return covariance + damping * torch.eye(len(covariance)).to(covariance)


def _cheapest(
    matrix: Float64[Tensor, "out left"], inverse: Float64[Tensor, "left left"], count: int
) -> Int[Tensor, "gone"]:
    """The units that go next, in order; each is chosen as if those before it were gone.

    Two copies of one unit are both cheap until one of them goes: scores must not be read twice.
    """
    scores = matrix.square().sum(0) / inverse.diagonal()
    near = scores.argsort(stable=True)[: CANDIDATES * count]
    weights, inner = matrix[:, near].clone(), inverse[near][:, near]
    gone: list[int] = []
    for _ in range(count):
        scores = weights.square().sum(0) / inner.diagonal()
        scores[gone] = torch.inf
        unit = int(scores.argmin())
        share = inner[unit] / inner[unit, unit]
        weights -= torch.outer(weights[:, unit], share)
        inner = inner - torch.outer(inner[:, unit], share)
        gone.append(unit)
    return near[gone]
