"""faster-whisper's batched pipeline with the encoder one batch ahead of the decoder."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float32

from liteasr._optional import require
from liteasr.runtime.hybrid import EXTRA, EncodedBatch, HybridWhisperModel

__all__ = ["PipelinedInference"]

BatchedInferencePipeline: Any = require("faster_whisper", extra=EXTRA).BatchedInferencePipeline


class PipelinedInference(BatchedInferencePipeline):  # type: ignore[misc]
    """A ``faster_whisper.BatchedInferencePipeline`` that encodes while it decodes.

    Voice activity detection cuts the recording before anything is decoded, so all windows are
    known: while the decoder works on one batch, another thread encodes the next. The results
    are those of the plain pipeline.
    """

    def __init__(self, model: HybridWhisperModel) -> None:
        super().__init__(model)

    def _batched_segments_generator(
        self, features: Any, tokenizer: Any, chunks_metadata: Any, batch_size: int,
        options: Any, log_progress: bool,
    ) -> Iterator[Any]:  # fmt: skip
        if len(features) == 0:
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="liteasr-encoder") as pool:
            ahead = EncodedAhead(self.model, features, batch_size, pool)
            yield from super()._batched_segments_generator(
                ahead, tokenizer, chunks_metadata, batch_size, options, log_progress
            )


class EncodedAhead:
    """The windows of a recording, sliced batch by batch; a slice starts the encoding of the next.

    Stands where faster-whisper expects the array: it takes the length, slices from the front,
    and gives each slice to ``encode`` of the model.
    """

    def __init__(
        self,
        model: HybridWhisperModel,
        windows: Float32[np.ndarray, "batch n_mels frames"],
        batch_size: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._model = model
        self._windows = windows
        self._batch_size = batch_size
        self._pool = pool
        self._begun: dict[int, Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, rows: slice) -> EncodedBatch:
        start = rows.start or 0
        encoded = self._begin(start)
        self._begin(start + self._batch_size)
        del self._begun[start]
        return EncodedBatch(self._windows[rows].shape, encoded)

    def _begin(self, start: int) -> Future[Any]:
        if start not in self._begun:
            rows = self._windows[start : start + self._batch_size]
            self._begun[start] = self._pool.submit(self._encode, rows)
        return self._begun[start]

    def _encode(self, rows: Float32[np.ndarray, "batch n_mels frames"]) -> Any:
        return self._model.encode(rows) if len(rows) else None
