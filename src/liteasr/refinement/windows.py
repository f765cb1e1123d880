"""Windows of audio to refine with: joined, cut and varied anew at every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.corpus import Corpus, mix_noise
from liteasr.encoders import EncoderAdapter, EncoderInput

__all__ = ["TrainingWindows", "held_out_windows"]

Waveform = Float[np.ndarray, "samples"]

PAUSE_S = (0.1, 0.8)
SPEED = (0.9, 1.1)
GAIN_DB = (-10.0, 6.0)
SNR_DB = (5.0, 30.0)
SHORT = (0.1, 0.5)  # of a full window
FULL_SHARE = 0.5  # of windows filled to the end; the others end in padding, as real ones do
NOISY_SHARE = 0.4
CACHE_BYTES = 512 * 2**20


class TrainingWindows:
    """Draws windows; the same seed, step and place give the same window.

    A window joins random stretches of recordings with pauses between them, so that short clips
    do not leave the encoder training on silence. Variations come from the user's own audio:
    speed, gain, white noise, and another recording behind the speech.

    Args:
        corpus: Unlabelled audio.
        adapter: Cuts waveforms into what the encoder takes.
        processor: The model's own.
        window_s: Length of a full window, in seconds.
        positions: Of the encoder in a full window.
        seed: Chooses everything.
        short_share: Share of the steps whose windows are cropped, all of a step to one length.
        augment: Whether to vary speed, gain and noise.
    """

    def __init__(
        self,
        corpus: Corpus,
        adapter: EncoderAdapter,
        processor: Any,
        *,
        window_s: float,
        positions: int,
        seed: int,
        short_share: float,
        augment: bool,
    ) -> None:
        self.corpus = corpus
        self.adapter = adapter
        self.processor = processor
        self.samples = round(window_s * SAMPLE_RATE_HZ)
        self.positions = positions
        self.seed = seed
        self.short_share = short_share
        self.augment = augment
        self._recent: OrderedDict[int, Waveform] = OrderedDict()

    def draw(self, step: int, place: int) -> EncoderInput:
        """The window at a place of a step's batch.

        Raises:
            AudioError: A recording cannot be read.
        """
        rng = np.random.default_rng([self.seed, step, place])
        length = self._length(step)
        share = 1.0 if rng.random() < FULL_SHARE else rng.uniform(0.05, 1.0)
        waveform = _joined(lambda: self._stretch(rng), round(share * length * self.samples), rng)
        if self.augment and rng.random() < NOISY_SHARE:
            waveform = self._noisy(waveform, rng)
        window = next(iter(self.adapter.inputs(self.processor, waveform)))
        return self.adapter.cropped(window, round(length * self.positions))

    def _length(self, step: int) -> float:
        """Length of a step's windows, as a share of a full one."""
        rng = np.random.default_rng([self.seed, step])
        return rng.uniform(*SHORT) if rng.random() < self.short_share else 1.0

    def _stretch(self, rng: np.random.Generator) -> Waveform:
        """A random recording, or a part of it as long as a window, at a random speed and gain."""
        waveform = self._load(int(rng.integers(len(self.corpus))))
        if len(waveform) > self.samples:
            start = int(rng.integers(len(waveform) - self.samples))
            waveform = waveform[start : start + self.samples]
        if not self.augment:
            return waveform
        faster = rng.uniform(*SPEED)
        times = np.arange(0, len(waveform) - 1, faster)
        gain = 10 ** (rng.uniform(*GAIN_DB) / 20)
        varied: Waveform = gain * np.interp(times, np.arange(len(waveform)), waveform)
        return varied.astype(np.float32)

    def _load(self, index: int) -> Waveform:
        """A recording, from memory where it was read lately."""
        if index in self._recent:
            self._recent.move_to_end(index)
        else:
            self._recent[index] = self.corpus[index].load()
        while len(self._recent) > 1 and sum(w.nbytes for w in self._recent.values()) > CACHE_BYTES:
            self._recent.popitem(last=False)
        return self._recent[index]

    def _noisy(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        if rng.random() < 0.5:
            noise = rng.standard_normal(len(waveform)).astype(np.float32)
        else:
            noise = self._stretch(rng)
        if not (np.any(waveform) and np.any(noise)):
            return waveform
        return mix_noise(waveform, noise, rng.uniform(*SNR_DB), rng=rng)


def held_out_windows(
    corpus: Corpus,
    adapter: EncoderAdapter,
    processor: Any,
    *,
    window_s: float,
    seed: int,
    most: int = 8,
) -> list[EncoderInput]:
    """Windows to check with: recordings as they are, in turn alone and joined to a full window."""
    rng = np.random.default_rng(seed)
    samples = round(window_s * SAMPLE_RATE_HZ)
    recordings: Iterator[Waveform] = (utterance.load()[:samples] for utterance in corpus)
    windows: list[EncoderInput] = []
    for waveform in recordings:
        if len(windows) % 2:
            rest = chain([waveform], recordings)
            waveform = _joined(partial(next, rest, None), samples, rng)
        windows.append(next(iter(adapter.inputs(processor, waveform))))
        if len(windows) == most:
            break
    return windows


def _joined(
    following: Callable[[], Waveform | None], samples: int, rng: np.random.Generator
) -> Waveform:
    """Stretches with pauses between them, until there is enough or no more."""
    parts: list[Waveform] = []
    length = 0
    while length < samples and (part := following()) is not None and len(part):
        pause = np.zeros(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE_HZ), dtype=np.float32)
        parts += [part, pause]
        length += len(part) + len(pause)
    return np.concatenate(parts)[:samples]
