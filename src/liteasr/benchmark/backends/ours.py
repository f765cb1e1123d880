"""liteasr itself, dense or compressed, through transformers' modules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Float

from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.checkpoint import load_model
from liteasr.encoders import EncoderInput, adapter_for, run_encoder
from liteasr.runtime import GREEDY, transcriber_for

__all__ = ["OurBackend"]


@final
class OurBackend:
    """Any model that `load_model` opens."""

    unshown: ClassVar[Unshown] = {}

    def __init__(self, spec: BackendSpec) -> None:
        self.speech = load_model(spec.model)
        self.adapter = adapter_for(self.speech.model)
        self.encoder = self.adapter.encoder(self.speech.model)
        self.transcriber = transcriber_for(self.speech)
        self.options = replace(GREEDY, language=spec.language)

    def features(self, waveform: Float[np.ndarray, "samples"]) -> EncoderInput:
        """The first window's."""
        return next(self.adapter.inputs(self.speech.processor, waveform))

    def encode(self, features: Any) -> None:
        """The encoder alone."""
        run_encoder(self.encoder, features)

    def first_token(self, waveform: Float[np.ndarray, "samples"]) -> None:
        """One new token."""
        self.transcriber.transcribe(waveform, replace(self.options, max_new_tokens=1))

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """With our own window loop."""
        return self.transcriber.transcribe(waveform, self.options).text
