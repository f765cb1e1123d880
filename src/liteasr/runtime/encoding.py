"""What computes an encoder's output, whichever library does it: features in, states out."""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float32

from liteasr.encoders import adapter_for, encode
from liteasr.sources import SpeechModel

__all__ = ["FRAMES_PER_POSITION", "EncoderRuntime", "TorchEncoder", "require_window"]

FRAMES_PER_POSITION = 2  # the second convolution has stride 2


class EncoderRuntime(Protocol):
    """Encodes windows of audio, full or shorter: positions beyond the audio need no arithmetic."""

    @property
    def name(self) -> str:
        """What runs which model, for reports: ``torch-float32:whisper-base``."""
        ...

    def encode(
        self, features: Float32[np.ndarray, "batch n_mels frames"]
    ) -> Float32[np.ndarray, "batch seq width"]:
        """Encode a batch of windows of one length; seq is half the frames, rounded up.

        Raises:
            ValueError: The features have another number of mel bins, no frames, more frames
                than a window, or another dtype.
        """
        ...


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


def require_window(
    features: Float32[np.ndarray, "batch n_mels frames"], *, n_mels: int, frames: int
) -> None:
    """Check features before they reach an encoder.

    Args:
        features: What is to be encoded.
        n_mels: Mel bins that the encoder takes.
        frames: Frames of a full window.

    Raises:
        ValueError: The shape or the dtype is not one that the encoder takes.
    """
    if features.dtype != np.float32:
        raise ValueError(f"features must be float32, got {features.dtype}: convert them")
    if features.ndim != 3 or features.shape[1] != n_mels:
        raise ValueError(f"features must be [batch, {n_mels}, frames], got {list(features.shape)}")
    if features.shape[0] == 0 or not 1 <= features.shape[2] <= frames:
        raise ValueError(
            f"a window has 1 to {frames} frames and a batch at least one window, got "
            f"{list(features.shape)}: cut longer audio into windows"
        )
