"""Reading the clock: two backends in turn, so that a slow moment of the machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float

from liteasr.benchmark.backends import Backend, StagedBackend

__all__ = ["Clock", "Readings", "matmul_peak", "take_turns"]

Clock = Callable[[], float]
Waveform = Float[np.ndarray, "samples"]


@dataclass(kw_only=True)
class Readings:
    """Seconds of one backend; transcriptions in the order of rounds and clips."""

    encoder_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    transcription_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def take_turns(
    backends: Sequence[Backend],
    clips: Sequence[Waveform],
    *,
    rounds: int,
    clock: Clock = time.perf_counter,
) -> list[Readings]:
    """Read every measure of every backend, A B A B.

    Before the clock starts, each backend transcribes the first clip once, and encodes it and
    waits for its first token once. The texts are those of the first round.
    """
    found = [Readings() for _ in backends]
    staged = [
        (backend, backend.features(clips[0]), readings)
        for backend, readings in zip(backends, found, strict=True)
        if isinstance(backend, StagedBackend)
    ]
    for backend in backends:
        backend.transcribe(clips[0])
    for shown, features, _ in staged:
        shown.encode(features)
        shown.first_token(clips[0])
    for round in range(rounds):
        for shown, features, readings in staged:
            readings.encoder_s.append(_seconds(partial(shown.encode, features), clock))
        for shown, _, readings in staged:
            readings.first_token_s.append(_seconds(partial(shown.first_token, clips[0]), clock))
        for clip in clips:
            for backend, readings in zip(backends, found, strict=True):
                start = clock()
                text = backend.transcribe(clip)
                readings.transcription_s.append(clock() - start)
                if round == 0:
                    readings.texts.append(text)
    return found


def _seconds(action: Callable[[], None], clock: Clock) -> float:
    start = clock()
    action()
    return clock() - start


def matmul_peak(*, size: int = 2048, repeats: int = 7, clock: Clock = time.perf_counter) -> float:
    """FLOPs per second of a large float32 matrix product, the best of some: 2·n³ each."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    torch.mm(a, b)
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        torch.mm(a, b)
        best = min(best, clock() - start)
    return 2.0 * size**3 / best
