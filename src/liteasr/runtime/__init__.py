"""Runtimes: what turns a recording into a transcript."""

from liteasr.runtime.base import AudioInput, Transcriber, TranscriptionOptions, waveform_of
from liteasr.runtime.context import ContextChoice
from liteasr.runtime.loading import EncoderChoice, RuntimeChoice, encoder_for, transcriber_for

__all__ = [
    "AudioInput",
    "ContextChoice",
    "EncoderChoice",
    "RuntimeChoice",
    "Transcriber",
    "TranscriptionOptions",
    "encoder_for",
    "transcriber_for",
    "waveform_of",
]
