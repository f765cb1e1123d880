"""What computes an encoder's output, whichever library does it: features in, states out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float32

__all__ = ["FRAMES_PER_POSITION", "EncoderRuntime", "require_window"]

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
