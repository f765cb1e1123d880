"""How a learning rate rises and falls."""

from __future__ import annotations

import math

__all__ = ["share_of_peak"]


def share_of_peak(step: int, steps: int, *, warm_up: float) -> float:
    """Share of the peak rate: a line up, for that share of the steps, then half a cosine down."""
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
