"""Windows that faster-whisper padded with zeros: where the audio ends, and silence after it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

__all__ = ["audio_frames", "with_silence"]

# the extractor gives (log10 power + 4) / 4, raised to 8 decades below the loudest bin
DYNAMIC_RANGE = 8.0 / 4.0
QUIETEST = (-10.0 + 4.0) / 4.0


def audio_frames(
    windows: Float32[np.ndarray, "batch n_mels frames"],
) -> np.ndarray:
    """Count the frames of each window before the zeros at its end.

    Zero is an ordinary value of one bin; a whole frame of exact zeros is padding.
    """
    filled: np.ndarray = np.any(windows != 0.0, axis=1)
    frames = windows.shape[2]
    last = frames - np.argmax(filled[:, ::-1], axis=1)
    counts: np.ndarray = np.where(filled.any(axis=1), last, 0)
    return counts


def with_silence(
    windows: Float32[np.ndarray, "batch n_mels frames"], counts: np.ndarray
) -> Float32[np.ndarray, "batch n_mels frames"]:
    """Put the log-Mel of silence where the zeros are, as if the audio had been padded.

    Zeros are a steady hum 10 dB to 60 dB above silence, which Whisper never heard in training.
    Windows without padding are given back as they are.
    """
    if (counts == windows.shape[2]).all():
        return windows
    quiet = windows.copy()
    for window, count in zip(quiet, counts, strict=True):
        window[:, count:] = _silence(window[:, :count])
    return quiet


def _silence(audio: Float32[np.ndarray, "n_mels frames"]) -> float:
    """The extractor's floor, which it takes from the loudest bin of the whole recording.

    A value that several quietest bins share is that floor; else only this window's is known.
    """
    if audio.size == 0:
        return QUIETEST
    quietest = float(audio.min())
    if np.count_nonzero(audio == audio.min()) > 1:
        return quietest
    return max(float(audio.max()) - DYNAMIC_RANGE, QUIETEST)
