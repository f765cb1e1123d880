"""What adapters of encoders share that take the waveform itself, of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.audio import SAMPLE_RATE_HZ, stretches
from liteasr.encoders.base import EncoderInput

__all__ = ["WINDOW_S", "full_waveform", "waveform_inputs"]

WINDOW_S = 30.0  # any length will do; training clips end here, and attention grows with the square


def full_waveform() -> dict[str, Tensor]:
    """30 s of samples without numbers."""
    return {"input_values": torch.empty(1, round(WINDOW_S * SAMPLE_RATE_HZ), device="meta")}


def waveform_inputs(
    processor: Any, waveform: Float[np.ndarray, "samples"], positions: Callable[[int], int]
) -> Iterator[EncoderInput]:
    """Stretches of at most 30 s, cut where it is quiet; none is padded.

    Args:
        processor: The model's.
        waveform: 16 kHz, mono.
        positions: How many the encoder makes of so many samples.
    """
    for window in stretches(waveform, WINDOW_S):
        extracted = processor.feature_extractor(
            window, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt"
        )
        yield EncoderInput(
            tensors={"input_values": extracted["input_values"]},
            valid_positions=positions(len(window)),
            duration_s=len(window) / SAMPLE_RATE_HZ,
        )
