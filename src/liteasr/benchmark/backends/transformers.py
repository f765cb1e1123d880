"""transformers through ``generate``, as its documentation calls it."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import torch
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.errors import UnsupportedModelError
from liteasr.sources import load_dense

__all__ = ["TransformersBackend"]


@final
class TransformersBackend:
    """A dense Whisper; ours only find the weights."""

    unshown: ClassVar[Unshown] = {}

    def __init__(self, spec: BackendSpec) -> None:
        speech = load_dense(spec.model)
        if speech.model.config.model_type != "whisper":
            raise UnsupportedModelError(f"{spec.model} is no Whisper: name one for {spec.kind}")
        self.model, self.processor = speech.model, speech.processor
        many = bool(getattr(self.model.generation_config, "lang_to_id", None))
        self.task = {"language": spec.language, "task": "transcribe"} if many else {}

    def features(self, waveform: Float[np.ndarray, "samples"]) -> Any:
        """The first 30 seconds."""
        return self._inputs(waveform, truncation=True).input_features

    @torch.inference_mode()
    def encode(self, features: Any) -> None:
        """The encoder's own forward."""
        self.model.get_encoder()(features)

    @torch.inference_mode()
    def first_token(self, waveform: Float[np.ndarray, "samples"]) -> None:
        """One new token."""
        inputs = self._inputs(waveform, truncation=True)
        self.model.generate(**inputs, **self.task, max_new_tokens=1)

    @torch.inference_mode()
    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """Longer recordings with timestamps, which generate needs to move on."""
        window = self.processor.feature_extractor.n_samples
        long = len(waveform) > window
        inputs = self._inputs(waveform, truncation=not long)
        ids = self.model.generate(**inputs, **self.task, return_timestamps=long)
        text: str = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return text.strip()

    def _inputs(self, waveform: Float[np.ndarray, "samples"], *, truncation: bool) -> Any:
        return self.processor(
            waveform,
            sampling_rate=SAMPLE_RATE_HZ,
            return_tensors="pt",
            return_attention_mask=True,
            truncation=truncation,
            padding="max_length" if truncation else "longest",
        )
