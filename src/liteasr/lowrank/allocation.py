"""Choosing all ranks at once: the least loss that a budget buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Choice", "allocate"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to keep a layer.

    Attributes:
        rank: Inner width, or None for the dense layer.
        cost: What it costs, in the unit of the budget.
        loss: What it loses, in a unit shared by all layers.
    """

    rank: int | None
    cost: float
    loss: float


def allocate(layers: Sequence[Sequence[Choice]], budget: float) -> list[Choice]:
    """Choose one option per layer: minimise Σ loss subject to Σ cost ≤ budget.

    Each layer starts at its cheapest option. Steps along the lower convex hulls of all layers
    are then bought in order of loss saved per cost (the solution of the Lagrangian
    min Σ loss + λ Σ cost for falling λ); a step that no longer fits is passed over, so that
    what is left over is smaller than the cheapest step not taken.

    Raises:
        ValueError: Even the cheapest options cost more than the budget.
    """
    hulls = [_lower_hull(options) for options in layers]
    taken = [0] * len(hulls)
    spent = sum(hull[0].cost for hull in hulls)
    if spent > budget:
        raise ValueError(f"the cheapest options cost {spent:g}, more than the budget {budget:g}")
    steps = sorted(
        (_slope(hull[position], hull[position + 1]), index, position)
        for index, hull in enumerate(hulls)
        for position in range(len(hull) - 1)
    )
    stuck = set()
    for _, index, position in steps:
        if index in stuck:
            continue
        price = hulls[index][position + 1].cost - hulls[index][position].cost
        if spent + price > budget:
            stuck.add(index)  # later steps of this layer build on this one
            continue
        spent += price
        taken[index] = position + 1
    return [hull[position] for hull, position in zip(hulls, taken, strict=True)]


def _lower_hull(options: Sequence[Choice]) -> list[Choice]:
    """Options that some price λ would choose, from cheap to dear, ever less steep."""
    hull: list[Choice] = []
    for option in sorted(options, key=lambda choice: (choice.cost, choice.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-2], option):
            hull.pop()
        hull.append(option)
    return hull


def _slope(a: Choice, b: Choice) -> float:
    """Change of loss per cost, negative along a hull; the steepest is the best bargain."""
    return (b.loss - a.loss) / (b.cost - a.cost)
