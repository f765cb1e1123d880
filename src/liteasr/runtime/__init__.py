"""Runtimes: what turns a recording into a transcript.

Names are imported when first used: some runtimes do without PyTorch.
"""

from typing import TYPE_CHECKING

from liteasr._lazy import lazy_names

if TYPE_CHECKING:
    from liteasr.runtime.base import (
        GREEDY,
        AudioInput,
        Transcriber,
        TranscriptionOptions,
        waveform_of,
    )
    from liteasr.runtime.context import ContextChoice
    from liteasr.runtime.encoder_choice import encoder_for
    from liteasr.runtime.encoder_files import EncoderChoice
    from liteasr.runtime.hearing import Listener, listener_of
    from liteasr.runtime.loading import RuntimeChoice, load_transcriber, transcriber_for

_HOMES = {
    "AudioInput": "base",
    "ContextChoice": "context",
    "EncoderChoice": "encoder_files",
    "GREEDY": "base",
    "Listener": "hearing",
    "RuntimeChoice": "loading",
    "Transcriber": "base",
    "TranscriptionOptions": "base",
    "encoder_for": "encoder_choice",
    "listener_of": "hearing",
    "load_transcriber": "loading",
    "transcriber_for": "loading",
    "waveform_of": "base",
}

__all__ = [
    "GREEDY",
    "AudioInput",
    "ContextChoice",
    "EncoderChoice",
    "Listener",
    "RuntimeChoice",
    "Transcriber",
    "TranscriptionOptions",
    "encoder_for",
    "listener_of",
    "load_transcriber",
    "transcriber_for",
    "waveform_of",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
