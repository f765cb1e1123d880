"""Recordings to waveforms to log-Mel features."""

from liteasr.audio.features import LogMel, log_mel, windows
from liteasr.audio.loading import (
    SAMPLE_RATE_HZ,
    AudioSource,
    duration_s,
    is_silent,
    load_audio,
)
from liteasr.audio.stretches import stretches

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioSource",
    "LogMel",
    "duration_s",
    "is_silent",
    "load_audio",
    "log_mel",
    "stretches",
    "windows",
]
