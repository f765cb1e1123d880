"""What encodes the windows of a transcriber in PyTorch: the encoder, or its recording on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Lock
from types import MappingProxyType
from typing import TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.encoders import encode
from liteasr.errors import KernelError, UnsupportedModelError
from liteasr.runtime.cuda_graph import is_gpu
from liteasr.runtime.encoding import FRAMES_PER_POSITION
from liteasr.runtime.gpu_encoder import GpuEncoder
from liteasr.sources import SpeechModel

__all__ = ["TOLERANCES", "WindowEncoder"]

logger = logging.getLogger(__name__)

# of the whole output, relative: what other orders of the same sums lose, and nothing more
TOLERANCES: Mapping[torch.dtype, float] = MappingProxyType(
    {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
)

Identity: TypeAlias = tuple[int, int, int]


@final
class WindowEncoder:
    """From features to states, on the model's own device and in its own dtype.

    On a GPU full windows are replayed from a recording (`GpuEncoder`), which is made at the first
    one. Shorter windows go through the encoder as it is: nearly every one has a length of its own,
    and a recording takes several encodings to make, so few would pay.

    A recording is trusted where it gave what the encoder gives for the window it was made at, and
    only as long as the encoder's weights are those that it was made of: a model that was moved,
    compressed or refined since is recorded again. Where there is nothing to trust, the encoder
    runs as it is and the log says why, once.

    Memory: a recording has the model's own layers, but for the first products of queries, keys and
    values, which are copied, folds, and activations of one window. In a dense Whisper the copies
    are a quarter of the blocks' weights.

    Args:
        speech_model: A Whisper, dense or compressed.
        record: False never records.
    """

    def __init__(self, speech_model: SpeechModel, *, record: bool = True) -> None:
        self._speech_model = speech_model
        self._full_frames = speech_model.model.config.max_source_positions * FRAMES_PER_POSITION
        self._record = record
        self._recorded: GpuEncoder | None = None
        self._identities: list[Identity] = []
        self._weights: list[Tensor] = []  # kept, so that no other weight gets their identities
        self._lock = Lock()  # a recording has one place for its input

    @torch.inference_mode()
    def __call__(
        self, features: Float[Tensor, "batch n_mels frames"]
    ) -> Float[Tensor, "batch seq width"]:
        """Encode windows of one length; the result is the caller's own."""
        full = features.shape[-1] == self._full_frames
        if not (self._record and full and is_gpu(features.device)):
            return self._as_it_is(features)
        with self._lock:
            encoder = self._speech_model.model.get_encoder()
            weights = [*encoder.parameters(), *encoder.buffers()]
            identities = [_identity_of(weight) for weight in weights]
            if identities != self._identities:
                self._identities, self._weights = identities, weights
                self._recorded = None  # the old one's memory goes first
                states = self._as_it_is(features)
                self._recorded = self._recording(features, states)
                return states
            return self._as_it_is(features) if self._recorded is None else self._recorded(features)

    def _as_it_is(self, features: Tensor) -> Tensor:
        return encode(self._speech_model.model.get_encoder(), {"input_features": features})

    def _recording(self, features: Tensor, states: Tensor) -> GpuEncoder | None:
        """Record, and compare with what the encoder itself gave for the same window."""
        name = self._speech_model.name
        try:
            made = GpuEncoder(self._speech_model, batch_sizes=(len(features),), recordings=1)
        except (KernelError, UnsupportedModelError) as reason:
            logger.info("encoder: PyTorch's own on %s, for %s", features.device, reason)
            return None
        error = _relative_error(made(features), states)
        limit = TOLERANCES[states.dtype]
        if not error <= limit:
            logger.info(
                "encoder: PyTorch's own on %s, for a recording of %s differs from it by %.2g, the "
                "limit is %g", features.device, name, error, limit,
            )  # fmt: skip
            return None
        logger.info("encoder: %s, on %s", made.name, features.device)
        return made


def _identity_of(weight: Tensor) -> Identity:
    """Which it is, where it lies and how often it was written to: another after every change."""
    return id(weight), weight.data_ptr(), 0 if weight.is_inference() else weight._version


def _relative_error(found: Tensor, expected: Tensor) -> float:
    """‖found - expected‖ / ‖expected‖, not a number where either holds one."""
    exact = expected.double()
    return float((found.double() - exact).norm() / exact.norm())
