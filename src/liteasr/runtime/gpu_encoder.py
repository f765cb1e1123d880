"""A Whisper encoder on an NVIDIA GPU: packed, recorded at a few shapes, and replayed."""

from __future__ import annotations

from collections import OrderedDict
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from liteasr.encoders import pack_encoder
from liteasr.errors import UnsupportedModelError
from liteasr.kernels import Backend
from liteasr.runtime.cuda_graph import CudaGraph, require_cuda
from liteasr.sources import SpeechModel

__all__ = ["GpuEncoder"]


@final
class GpuEncoder:
    """Features in, states out, on the model's own GPU and in its own dtype.

    A batch is filled up to one of ``batch_sizes`` with silence, and every pair of batch size and
    length is recorded when it is first seen; the longest unused recording makes room for another.

    Args:
        speech_model: A Whisper, dense or compressed, on a GPU.
        batch_sizes: Sizes to record; larger batches are done in parts.
        recordings: How many are kept.
        attention: How attentions are computed; see `low_rank_attention`.

    Raises:
        KernelError: The model is not on a GPU.
        UnsupportedModelError: It is no Whisper, or its attention has layers of another kind, such
            as adapters.
        ValueError: ``batch_sizes`` or ``recordings`` leaves nothing to record.
    """

    def __init__(
        self,
        speech_model: SpeechModel,
        *,
        batch_sizes: tuple[int, ...] = (1, 8, 16),
        recordings: int = 8,
        attention: Backend = "auto",
    ) -> None:
        if not batch_sizes or min(batch_sizes) < 1 or recordings < 1:
            raise ValueError(
                f"batch_sizes and recordings must be at least 1, got {batch_sizes} and {recordings}"
            )
        try:
            self._encoder = pack_encoder(speech_model.model, attention=attention)
        except TypeError as error:
            raise UnsupportedModelError(f"{speech_model.name} cannot be packed: {error}") from error
        self._like = next(self._encoder.parameters())
        require_cuda(self._like.device)
        self.name = f"cuda-graph:{speech_model.name}"
        self._batch_sizes = tuple(sorted(set(batch_sizes)))
        self._kept = recordings
        self._graphs: OrderedDict[torch.Size, CudaGraph] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle()

    @torch.inference_mode()
    def __call__(
        self, features: Float[Tensor, "batch n_mels frames"]
    ) -> Float[Tensor, "batch seq width"]:
        """Encode a batch of windows of one length; the result is the caller's own."""
        features = features.to(self._like.device, self._like.dtype)
        parts = torch.split(features, self._batch_sizes[-1])
        return torch.cat([self._encode_part(part) for part in parts])

    def encode(
        self, features: Float32[np.ndarray, "batch n_mels frames"]
    ) -> Float32[np.ndarray, "batch seq width"]:
        """The same for arrays."""
        states: np.ndarray = self(torch.from_numpy(features)).to("cpu", torch.float32).numpy()
        return states

    def _encode_part(self, part: Tensor) -> Tensor:
        count = len(part)
        size = next(size for size in self._batch_sizes if size >= count)
        filled = functional.pad(part, (0, 0, 0, 0, 0, size - count))
        return self._graph(filled)(filled)[:count].clone()

    def _graph(self, example: Tensor) -> CudaGraph:
        graph = self._graphs.pop(example.shape, None)
        if graph is None:
            if len(self._graphs) >= self._kept:
                self._graphs.popitem(last=False)
            graph = CudaGraph(self._encoder, example, pool=self._pool)
        self._graphs[example.shape] = graph  # the last one is the latest
        return graph
