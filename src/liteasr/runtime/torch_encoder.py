"""The encoder of a model as PyTorch runs it."""

from __future__ import annotations

from copy import deepcopy
from typing import final

import numpy as np
import torch
from jaxtyping import Float32

from liteasr.encoders import adapter_for, encode
from liteasr.runtime.encoding import FRAMES_PER_POSITION, require_window
from liteasr.sources import SpeechModel

__all__ = ["TorchEncoder"]


@final
class TorchEncoder:
    """The encoder as it is, in PyTorch, on its own device.

    Args:
        speech_model: The model.
        dtype: Compute in another dtype than the model's, with a copy of the encoder:
            ``torch.bfloat16`` is several times as fast where a CPU has AMX.
    """

    def __init__(self, speech_model: SpeechModel, *, dtype: torch.dtype | None = None) -> None:
        adapter = adapter_for(speech_model.model)
        self._encoder = adapter.encoder(speech_model.model)
        own = next(self._encoder.parameters()).dtype
        if dtype not in (None, own):
            self._encoder = deepcopy(self._encoder).to(dtype)
        kind = str(dtype or own).removeprefix("torch.")
        self.name = f"torch-{kind}:{speech_model.name}"
        self._n_mels = int(speech_model.model.config.num_mel_bins)
        self._frames = adapter.positions(self._encoder) * FRAMES_PER_POSITION

    def encode(
        self, features: Float32[np.ndarray, "batch n_mels frames"]
    ) -> Float32[np.ndarray, "batch seq width"]:
        """Encode a batch of windows; see `EncoderRuntime`.

        Raises:
            ValueError: The features are not of this encoder.
        """
        require_window(features, n_mels=self._n_mels, frames=self._frames)
        like = next(self._encoder.parameters())
        tensor = torch.from_numpy(np.ascontiguousarray(features)).to(like.device, like.dtype)
        with torch.inference_mode():
            output = encode(self._encoder, {"input_features": tensor})
        states: np.ndarray = output.to("cpu", torch.float32).numpy()
        return states
