"""Recordings made on the spot."""

import io
import wave
from pathlib import Path

import numpy as np


def write_wav(path: Path, waveform: np.ndarray, rate_hz: int = 16_000) -> Path:
    """A 16-bit mono wav file."""
    path.write_bytes(wav_bytes(waveform, rate_hz))
    return path


def wav_bytes(waveform: np.ndarray, rate_hz: int = 16_000) -> bytes:
    """The same in memory."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return made.getvalue()
