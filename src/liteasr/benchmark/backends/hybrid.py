"""The hybrid: an encoder of ours, CTranslate2's decoder, faster-whisper's window loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, cast, final

import numpy as np
from jaxtyping import Float, Float32

from liteasr._optional import require
from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.checkpoint import load_model
from liteasr.encoders import adapter_for
from liteasr.runtime import GREEDY, EncoderChoice, encoder_for

__all__ = ["HybridBackend"]


@final
class HybridBackend:
    """Any Whisper that `load_model` opens.

    ``hybrid`` is what a user gets; ``hybrid-ENCODER`` names the encoder, and the decoder is float32
    beside it, or int8 beside one of int8.
    """

    unshown: ClassVar[Unshown] = {}

    def __init__(self, spec: BackendSpec) -> None:
        require("faster_whisper", extra="peers")
        from liteasr.runtime.decoder_choice import decoder_parts
        from liteasr.runtime.faster_whisper import FasterWhisperTranscriber

        named = spec.kind.removeprefix("hybrid").removeprefix("-") or "auto"
        compute = {"auto": "auto", "onnx-int8": "int8"}.get(named, "float32")
        self.speech = load_model(spec.model)
        self.adapter = adapter_for(self.speech.model)
        self.encoder = encoder_for(self.speech, cast(EncoderChoice, named))
        parts = decoder_parts(self.speech, compute)
        self.transcriber = FasterWhisperTranscriber(parts, self.encoder)
        self.options = replace(GREEDY, language=spec.language)

    def features(
        self, waveform: Float[np.ndarray, "samples"]
    ) -> Float32[np.ndarray, "1 n_mels frames"]:
        """The first window's, 30 seconds."""
        inputs = next(self.adapter.inputs(self.speech.processor, waveform))
        features: np.ndarray = inputs.tensors["input_features"].numpy()
        return features

    def encode(self, features: Any) -> None:
        """The whole window, whatever the context of a transcription."""
        self.encoder.encode(features)

    def first_token(self, waveform: Float[np.ndarray, "samples"]) -> None:
        """One new token."""
        self.transcriber.transcribe(waveform, replace(self.options, max_new_tokens=1))

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """With faster-whisper's window loop."""
        return self.transcriber.transcribe(waveform, self.options).text
