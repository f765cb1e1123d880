"""Noise at a chosen signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["mix_noise"]


def mix_noise(
    waveform: Float[np.ndarray, "samples"],
    noise: Float[np.ndarray, "noise_samples"],
    snr_db: float,
    *,
    rng: np.random.Generator,
) -> Float[np.ndarray, "samples"]:
    """Add noise so that 10·log10(P_speech / P_noise) = ``snr_db``.

    The noise starts at a random sample and is repeated where it is shorter.

    Raises:
        ValueError: The speech or the noise is silent.
    """
    start = int(rng.integers(len(noise))) if len(noise) else 0
    cut = np.resize(np.roll(noise, -start), len(waveform)) if len(noise) else noise
    speech_power, noise_power = _power(waveform), _power(cut)
    if speech_power == 0 or noise_power == 0:
        raise ValueError("a signal-to-noise ratio needs speech and noise that are not silent")
    gain = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    mixed: np.ndarray = (waveform + gain * cut).astype(np.float32)
    return mixed


def _power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64))) if len(waveform) else 0.0
