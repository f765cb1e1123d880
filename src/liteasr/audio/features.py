"""Waveforms to log-Mel features, through the model's own transformers extractor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from liteasr.audio.loading import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LogMel", "log_mel", "windows"]

MIN_TAIL_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMel:
    """Log-Mel features of one window.

    Attributes:
        features: [n_mels, frames], float32, padded to the extractor's full window.
        valid_frames: Leading frames that hold audio; the rest is padding.
    """

    features: Float[Tensor, "n_mels frames"]
    valid_frames: int


def log_mel(waveform: Float[np.ndarray, "samples"], extractor: Any) -> LogMel:
    """Compute the features of one window of audio at 16 kHz.

    Args:
        waveform: At most one window of the extractor (30 s for Whisper).
        extractor: A transformers feature extractor with a fixed window, 80 or 128 Mel bands.

    Raises:
        ValueError: The waveform is empty or longer than the window.
    """
    if not 0 < len(waveform) <= extractor.n_samples:
        raise ValueError(
            f"a window holds 1 to {extractor.n_samples} samples, got {len(waveform)}: "
            "cut the audio with `windows`"
        )
    batch = extractor(waveform, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    return LogMel(
        features=batch["input_features"][0],
        valid_frames=-(-len(waveform) // extractor.hop_length),
    )


def windows(
    waveform: Float[np.ndarray, "samples"], extractor: Any
) -> Iterator[Float[np.ndarray, "window"]]:
    """Cut audio into consecutive windows of the extractor; the last one is shorter.

    A last window under 0.1 s is dropped, unless it is the only one.
    """
    for start in range(0, len(waveform), extractor.n_samples):
        window = waveform[start : start + extractor.n_samples]
        if start == 0 or len(window) >= MIN_TAIL_S * SAMPLE_RATE_HZ:
            yield window
