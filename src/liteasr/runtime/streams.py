"""One long recording as several stretches that are transcribed at the same time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ, stretches

__all__ = ["divided"]

SHORTEST_S = 60.0  # of a stretch, on average: a cut costs what the decoder knows of the window
REACH = 1.2  # of an even share: where it ends is looked for from 0.8 of it on

Waveform = Float[np.ndarray, "samples"]


def divided(waveform: Waveform, count: int) -> Iterator[tuple[float, Waveform]]:
    """Stretches of about one length, each with its start in seconds, cut where it is quietest.

    Args:
        waveform: Mono, 16 kHz.
        count: How many, fewer where they would last less than a minute.
    """
    seconds = len(waveform) / SAMPLE_RATE_HZ
    start = 0
    for left in range(min(count, int(seconds // SHORTEST_S)), 1, -1):
        rest = waveform[start:]
        first = next(stretches(rest, REACH * len(rest) / left / SAMPLE_RATE_HZ))
        yield start / SAMPLE_RATE_HZ, first
        start += len(first)
    yield start / SAMPLE_RATE_HZ, waveform[start:]
