"""Long recordings in pieces that end where it is quiet, for models without timestamps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from liteasr.audio.loading import SAMPLE_RATE_HZ

__all__ = ["stretches"]

SHORTEST_S = 0.1
SEARCHED_SHARE = 1 / 3  # of a stretch: its end lies in the last third
FRAME_S = 0.02
QUIET_S = 0.2  # a pause between words, not the gap inside a plosive


def stretches(
    waveform: Float[np.ndarray, "samples"], longest_s: float
) -> Iterator[Float[np.ndarray, "window"]]:
    """Cut audio at 16 kHz into consecutive stretches, each at its quietest place near the end.

    A last stretch under 0.1 s is dropped; where it is the only one, zeros make it 0.1 s long, so
    that convolutions have something to stand on.

    Args:
        waveform: Mono, 16 kHz.
        longest_s: No stretch is longer.
    """
    longest, shortest = (round(s * SAMPLE_RATE_HZ) for s in (longest_s, SHORTEST_S))
    start = 0
    while len(waveform) - start > longest:
        end = start + _quietest(waveform[start : start + longest])
        yield waveform[start:end]
        start = end
    rest = waveform[start:]
    if start == 0 and len(rest) < shortest:
        rest = np.pad(rest, (0, shortest - len(rest)))
    if len(rest) >= shortest:
        yield rest


def _quietest(window: Float[np.ndarray, "window"]) -> int:
    """Samples up to the middle of the quietest pause in the last third."""
    frame = round(FRAME_S * SAMPLE_RATE_HZ)
    first = round((1 - SEARCHED_SHARE) * len(window)) // frame
    frames = window[first * frame :]
    frames = frames[: len(frames) // frame * frame].reshape(-1, frame)
    energy = np.square(frames, dtype=np.float64).mean(axis=1)
    width = round(QUIET_S / FRAME_S)
    smooth = np.convolve(energy, np.ones(width), mode="valid")
    return (first + int(smooth.argmin()) + width // 2) * frame
