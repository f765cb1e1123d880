"""Runtimes: what turns a recording into a transcript."""

from liteasr.runtime.base import AudioInput, Transcriber, TranscriptionOptions, waveform_of
from liteasr.runtime.loading import transcriber_for

__all__ = [
    "AudioInput",
    "Transcriber",
    "TranscriptionOptions",
    "transcriber_for",
    "waveform_of",
]
