"""Which models no other beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other is at least as small in both and smaller in one.

    In the order of the first coordinate; of equal points only the first counts.
    """
    order = sorted(range(len(points)), key=lambda place: (*points[place], place))
    front: list[int] = []
    for place in order:
        if not front or points[place][1] < points[front[-1]][1]:
            front.append(place)
    return front
