"""faster-whisper's batched pipeline with the encoder one batch ahead of the decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from liteasr._optional import require
from liteasr.runtime.hybrid import EXTRA, EncodedBatch, HybridWhisperModel

__all__ = ["PipelinedInference"]

BatchedInferencePipeline: Any = require("faster_whisper", extra=EXTRA).BatchedInferencePipeline

SHORTEST_S = 1.0  # less that is left is the end of a word, less that was said gets nowhere

Chunk: TypeAlias = Mapping[str, Any]  # offset and duration in seconds, and more


class PipelinedInference(BatchedInferencePipeline):  # type: ignore[misc]
    """A ``faster_whisper.BatchedInferencePipeline`` that encodes while it decodes, and finishes.

    Voice activity detection cuts the recording before anything is decoded, so all windows are
    known: while the decoder works on one batch, another thread encodes the next.

    A decoder that begins a sentence which the window does not end leaves it without a time, or
    unsaid. faster-whisper drops it here, and goes on behind it where it decodes window after
    window. So does this pipeline: what is left of a window is decoded as another one.
    """

    def __init__(self, model: HybridWhisperModel) -> None:
        super().__init__(model)
        self.last_speech_timestamp: float
        self._said: list[list[int]] = []

    def forward(
        self, features: Any, tokenizer: Any, chunks_metadata: Sequence[Chunk], options: Any
    ) -> list[list[dict[str, Any]]]:
        """Segments of each window of a batch, those of what it left over behind them."""
        windows = features.windows if isinstance(features, EncodedBatch) else features
        segments: list[list[dict[str, Any]]]
        segments = super().forward(features, tokenizer, chunks_metadata, options)
        ends = [
            self._end(tokenizer, tokens, chunk)
            for tokens, chunk in zip(self._said, chunks_metadata, strict=True)
        ]
        left = [row for row, end in enumerate(ends) if self._goes_on(end, chunks_metadata[row])]
        if left:
            rest = np.stack([_from_frame(windows[row], ends[row]) for row in left])
            chunks = [_from(chunks_metadata[row], ends[row] / self._frames_per_s) for row in left]
            latest: float = self.last_speech_timestamp
            for row, more in zip(left, self.forward(rest, tokenizer, chunks, options), strict=True):
                segments[row] += [segment for segment in more if _is_speech(segment, options)]
            self.last_speech_timestamp = max(latest, self.last_speech_timestamp)
        return segments

    def generate_segment_batched(self, features: Any, tokenizer: Any, options: Any) -> Any:
        """Decode a batch, see faster-whisper, and note what was said."""
        encoded, output = super().generate_segment_batched(features, tokenizer, options)
        self._said = [row["tokens"] for row in output]
        return encoded, output

    @property
    def _frames_per_s(self) -> int:
        return int(self.model.frames_per_second)

    def _end(self, tokenizer: Any, tokens: list[int], chunk: Chunk) -> int:
        """Frames of a window up to where its last whole sentence ends."""
        size = math.ceil(chunk["duration"]) * self._frames_per_s
        _, end, _ = self.model._split_segments_by_timestamps(
            tokenizer, tokens, chunk["offset"], size, chunk["duration"], 0
        )
        return int(end)

    def _goes_on(self, end: int, chunk: Chunk) -> bool:
        said_s = end / self._frames_per_s
        return said_s >= SHORTEST_S and chunk["duration"] - said_s >= SHORTEST_S

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


def _is_speech(segment: Mapping[str, Any], options: Any) -> bool:
    """Whether a rest says something by the thresholds that faster-whisper has for windows."""
    silent = (
        options.no_speech_threshold is not None
        and segment["no_speech_prob"] > options.no_speech_threshold
        and (
            options.log_prob_threshold is None
            or segment["avg_logprob"] < options.log_prob_threshold
        )
    )
    most = options.compression_ratio_threshold
    loops = most is not None and segment["compression_ratio"] > most
    return bool(segment["text"].strip()) and not silent and not loops


def _from(chunk: Chunk, start_s: float) -> Chunk:
    """What is left of a stretch of the recording."""
    return {
        **chunk, "offset": chunk["offset"] + start_s, "duration": chunk["duration"] - start_s
    }  # fmt: skip


def _from_frame(
    window: Float32[np.ndarray, "n_mels frames"], start: int
) -> Float32[np.ndarray, "n_mels frames"]:
    """What is left of a window, padded with zeros, as faster-whisper pads."""
    return np.pad(window[:, start:], ((0, 0), (0, start)))


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
        return EncodedBatch(self._windows[rows], encoded)

    def _begin(self, start: int) -> Future[Any]:
        if start not in self._begun:
            rows = self._windows[start : start + self._batch_size]
            self._begun[start] = self._pool.submit(self._encode, rows)
        return self._begun[start]

    def _encode(self, rows: Float32[np.ndarray, "batch n_mels frames"]) -> Any:
        return self._model.encode(rows) if len(rows) else None
