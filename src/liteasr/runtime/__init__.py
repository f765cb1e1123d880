"""Runtimes: what turns a recording into a transcript."""

from liteasr.runtime.base import GREEDY, AudioInput, Transcriber, TranscriptionOptions, waveform_of
from liteasr.runtime.context import ContextChoice
from liteasr.runtime.encoder_choice import EncoderChoice, encoder_for
from liteasr.runtime.loading import RuntimeChoice, load_transcriber, transcriber_for

__all__ = [
    "GREEDY",
    "AudioInput",
    "ContextChoice",
    "EncoderChoice",
    "RuntimeChoice",
    "Transcriber",
    "TranscriptionOptions",
    "encoder_for",
    "load_transcriber",
    "transcriber_for",
    "waveform_of",
]
