"""openai-whisper, the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liteasr._optional import require
from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.sources import load_dense
from liteasr.sources.openai_whisper import rename_state

__all__ = ["OpenAIWhisperBackend", "as_openai_whisper"]


@final
class OpenAIWhisperBackend:
    """A ``.pt`` file, or any dense Whisper that liteasr finds, its weights copied over."""

    unshown: ClassVar[Unshown] = {}

    def __init__(self, spec: BackendSpec) -> None:
        self.package = require("whisper", extra="peers")
        if Path(spec.model).suffix == ".pt":
            self.model = self.package.load_model(spec.model, device="cpu")
        else:
            self.model = as_openai_whisper(self.package, load_dense(spec.model).model)
        self.language = spec.language

    def features(self, waveform: Float[np.ndarray, "samples"]) -> Tensor:
        """The log-Mel of 30 seconds."""
        padded = self.package.pad_or_trim(waveform)
        mel: Tensor = self.package.log_mel_spectrogram(padded, n_mels=self.model.dims.n_mels)
        return mel

    @torch.inference_mode()
    def encode(self, features: Any) -> None:
        """The encoder alone."""
        self.model.encoder(features[None])

    def first_token(self, waveform: Float[np.ndarray, "samples"]) -> None:
        """One new token."""
        options = self.package.DecodingOptions(
            language=self.language, without_timestamps=True, sample_len=1, fp16=False
        )
        self.package.decode(self.model, self.features(waveform), options)

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """Greedy, without fallback."""
        found = self.package.transcribe(
            self.model,
            waveform,
            language=self.language,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
            no_speech_threshold=None,
            compression_ratio_threshold=None,
            logprob_threshold=None,
            fp16=False,
            verbose=None,
        )
        text: str = found["text"]
        return text.strip()


def as_openai_whisper(package: Any, model: Any) -> Any:
    """Copy a dense transformers Whisper into openai-whisper's own module."""
    config = model.config
    dims = package.model.ModelDimensions(
        n_mels=config.num_mel_bins,
        n_audio_ctx=config.max_source_positions,
        n_audio_state=config.d_model,
        n_audio_head=config.encoder_attention_heads,
        n_audio_layer=config.encoder_layers,
        n_vocab=config.vocab_size,
        n_text_ctx=config.max_target_positions,
        n_text_state=config.d_model,
        n_text_head=config.decoder_attention_heads,
        n_text_layer=config.decoder_layers,
    )
    made = package.model.Whisper(dims)
    ours = model.state_dict()
    theirs = made.state_dict()
    for name in theirs:
        # the embedding is found under two names, of which either holds it
        for renamed in rename_state({name: theirs[name]}):
            theirs[name] = ours[renamed]
    made.load_state_dict(theirs)
    return made.eval()
