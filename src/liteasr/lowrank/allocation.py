"""Choosing all ranks at once: the least loss that a budget buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Choice", "allocate", "lower_hull"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One way to keep a part of the model.

    Attributes:
        pick: What is chosen.
        cost: What it costs, in the unit of the budget.
        loss: What it loses, in a unit shared by all parts.
    """

    pick: T
    cost: float
    loss: float


def allocate(parts: Sequence[Sequence[Choice[T]]], budget: float) -> list[Choice[T]]:
    """Choose one option per part: minimise Σ loss subject to Σ cost ≤ budget.

    Each part starts at its cheapest option. Steps along the lower convex hulls of all parts
    are then bought in order of loss saved per cost (the solution of the Lagrangian
    min Σ loss + λ Σ cost for falling λ). What is left over is then spent, option by option, on
    whatever still fits and saves most per cost.

    Raises:
        ValueError: Even the cheapest options cost more than the budget.
    """
    hulls = [lower_hull(options) for options in parts]
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
            stuck.add(index)  # later steps of this part build on this one
            continue
        spent += price
        taken[index] = position + 1
    chosen = [hull[position] for hull, position in zip(hulls, taken, strict=True)]
    _spend_(chosen, parts, budget - spent)
    return chosen


def _spend_(chosen: list[Choice[T]], parts: Sequence[Sequence[Choice[T]]], spare: float) -> None:
    """Take better options while they fit; the hulls leave some out."""
    while True:
        better = [
            (_slope(chosen[index], option), index, option)
            for index, options in enumerate(parts)
            for option in options
            if option.loss < chosen[index].loss and option.cost - chosen[index].cost <= spare
        ]
        if not better:
            return
        _, index, option = min(better, key=lambda candidate: candidate[:2])
        spare -= option.cost - chosen[index].cost
        chosen[index] = option


def lower_hull(options: Sequence[Choice[T]]) -> list[Choice[T]]:
    """Options that some price λ would choose, from cheap to dear, ever less steep."""
    hull: list[Choice[T]] = []
    for option in sorted(options, key=lambda choice: (choice.cost, choice.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-2], option):
            hull.pop()
        hull.append(option)
    return hull


def _slope(a: Choice[T], b: Choice[T]) -> float:
    """Change of loss per cost, negative along a hull; the steepest is the best bargain."""
    if b.cost <= a.cost:
        return float("-inf")
    return (b.loss - a.loss) / (b.cost - a.cost)
