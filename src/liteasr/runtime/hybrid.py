"""faster-whisper with another encoder: our runtimes encode, CTranslate2 decodes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32

from liteasr._optional import require
from liteasr.runtime.context import (
    ContextChoice,
    check_context,
    fitted_positions,
    is_loop,
    longer_context,
    margin_of,
)
from liteasr.runtime.encoding import FRAMES_PER_POSITION, EncoderRuntime
from liteasr.runtime.greedy import GreedyDecoder
from liteasr.runtime.mel_bands import MelBands
from liteasr.runtime.padded_features import audio_frames, with_silence
from liteasr.runtime.pooling import PoolingChoice, check_pooling, pooled, pooling_of

__all__ = ["EXTRA", "EncodedBatch", "HybridWhisperModel"]

logger = logging.getLogger(__name__)

EXTRA = "faster-whisper"
ctranslate2: Any = require("ctranslate2", extra=EXTRA)
WhisperModel: Any = require("faster_whisper", extra=EXTRA).WhisperModel


class EncodedBatch:
    """A batch of windows that is being encoded."""

    def __init__(
        self, windows: Float32[np.ndarray, "batch n_mels frames"], encoded: Future[Any]
    ) -> None:
        self.windows = windows
        self._encoded = encoded

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the windows."""
        return self.windows.shape

    def result(self) -> Any:
        """Wait for the encoder's output."""
        return self._encoded.result()


class HybridWhisperModel(WhisperModel):  # type: ignore[misc]
    """A ``faster_whisper.WhisperModel`` whose windows are encoded by a runtime of ours.

    All of faster-whisper works on it: ``transcribe`` with its options, voice activity
    detection, word timestamps, ``BatchedInferencePipeline``. Only ``encode`` is replaced, and
    the decoder watches for loops where it was not given all of the window.

    Args:
        directory: What `liteasr.export.ctranslate2.write_decoder` wrote, or any CTranslate2
            Whisper with the same decoder.
        encoder: Encodes batches of windows.
        context: Positions after the end of the audio, ``auto`` or ``off``.
        pooling: Neighbouring positions that the decoder reads as one; ``auto`` is 2.
        full_positions: Of a full window.
        encoder_pooling: Positions that are one already in what the encoder gives.
        max_length: Tokens that the decoder has room for, the prompt included.
        greedy: Decodes in place of CTranslate2 what it takes: greedily, without penalties.
        options: Of ``faster_whisper.WhisperModel``: ``device``, ``compute_type``, ...
    """

    def __init__(
        self,
        directory: str | Path,
        encoder: EncoderRuntime,
        *,
        context: ContextChoice = "auto",
        pooling: PoolingChoice = "auto",
        full_positions: int = 1500,
        encoder_pooling: int = 1,
        max_length: int = 448,
        greedy: GreedyDecoder | None = None,
        **options: Any,
    ) -> None:
        # CTranslate2 leaves the thread that opens it as many OpenMP threads as it takes itself, and
        # PyTorch shares them
        with ThreadPoolExecutor(max_workers=1) as opener:
            opener.submit(super().__init__, str(directory), **options).result()
        check_context(context)
        check_pooling(pooling)
        extractor: Any = self.feature_extractor
        extractor.mel_filters = MelBands(extractor.mel_filters)
        self.encoder = encoder
        self.context = context
        self.pooling = pooling
        self.full_positions = full_positions
        self.encoder_pooling = encoder_pooling
        self.max_length = max_length
        self.model: LoopGuard = LoopGuard(
            self.model,
            self.hf_tokenizer,
            encoder,
            full_positions,
            max_length,
            encoder_pooling,
            greedy,
        )

    def reading(self, *, context: ContextChoice = "auto", pooling: PoolingChoice = "auto") -> Self:
        """Give a view of this model whose decoder is shown more or less; nothing is copied."""
        check_context(context)
        check_pooling(pooling)
        view = copy.copy(self)
        view.context, view.pooling = context, pooling
        return view

    def detect_language(
        self,
        audio: np.ndarray | None = None,
        features: np.ndarray | None = None,
        *positional: Any,
        **options: Any,
    ) -> Any:
        """Detect the language, see faster-whisper, on the very window that is transcribed next.

        The last frame of its features is no audio; without it the two windows are the same and
        are encoded once.
        """
        if features is not None and features.shape[-1] > 1:
            features = features[..., :-1]
        return super().detect_language(audio, features, *positional, **options)

    def encode(self, features: np.ndarray | EncodedBatch) -> Any:
        """Encode one window [n_mels, frames] or a batch of them, for the decoder.

        Frames of zeros at the end, which is how faster-whisper pads, become silence, and those
        beyond the context are left out.
        """
        if isinstance(features, EncodedBatch):
            return features.result()
        windows = np.asarray(features, dtype=np.float32)
        windows = windows[None] if windows.ndim == 2 else windows
        counts = audio_frames(windows)
        windows = with_silence(windows, counts)
        positions = fitted_positions(
            int(counts.max()), margin=margin_of(self.context), full=self.full_positions
        )
        pooled = self.pooling == "auto" and self.encoder_pooling > 1
        return self.model.encoded(windows, positions, 1 if pooled else pooling_of(self.pooling))


class LoopGuard:
    """CTranslate2's Whisper, which encodes again what it was shown a part of where the text loops.

    Contexts double, with nothing pooled, until the text is sound or the window is full, so that a
    loop of the full window is the only one that is given back. A caller that raises the
    temperature has seen a failure, and gets the full window at once. Times of words need every
    position. All but ``generate`` and ``align`` is passed on.
    """

    def __init__(
        self,
        whisper: Any,
        tokenizer: Any,
        encoder: EncoderRuntime,
        full: int,
        max_length: int,
        encoder_pooling: int = 1,
        greedy: GreedyDecoder | None = None,
    ) -> None:
        self._whisper = whisper
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._full = full
        self._max_length = max_length
        self._encoder_pooling = encoder_pooling
        self._greedy = greedy
        self._recent: _Recent | None = None
        # for as long as the caller keeps the encoding
        self._fitted: WeakKeyDictionary[Any, _Fitted] = WeakKeyDictionary()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._whisper, name)

    def encoded(
        self, windows: Float32[np.ndarray, "batch n_mels frames"], positions: int, pooling: int = 1
    ) -> Any:
        """Encode the leading positions of windows, which are kept where that is not all.

        The decoder reads the encoder's own memory: nothing is copied.
        """
        recent = self._recent
        if (
            recent is not None
            and (recent.positions, recent.pooling) == (positions, pooling)
            and np.array_equal(recent.windows, windows)
        ):
            return recent.encoded
        storage = self._encode(windows, positions, pooling)
        if positions < self._full or pooling > 1:
            self._fitted[storage] = _Fitted(windows, positions, pooling)
        if len(windows) == 1:  # language detection and the first window share it
            self._recent = _Recent(windows, positions, pooling, storage)
        return storage

    def generate(self, features: Any, prompts: Sequence[Any], **options: Any) -> list[Any]:
        """Decode a batch; see ``ctranslate2.models.Whisper.generate``."""
        fitted = self._fitted.get(features)
        if fitted is None or options.get("asynchronous"):
            return self._decode(features, prompts, options)
        if options.get("sampling_topk", 1) != 1:  # sampling: a retry
            if fitted.full is None:
                fitted.full = self._encode(fitted.windows, self._full)
            return self._decode(fitted.full, prompts, options)
        results = self._decode(features, prompts, options)
        positions, pooling = fitted.positions, fitted.pooling
        rows = self._loops(range(len(prompts)), results, prompts, options)
        while rows and (positions < self._full or pooling > 1):
            pooling = 1
            positions = longer_context(positions, full=self._full)
            logger.info("the text loops: encoding again with %d positions", positions)
            longer = self._encode(fitted.windows[rows], positions)
            again = self._decode(longer, [prompts[row] for row in rows], options)
            for row, result in zip(rows, again, strict=True):
                results[row] = result
            rows = self._loops(rows, results, prompts, options)
        return results

    def align(self, features: Any, *positional: Any, **options: Any) -> Any:
        """Give the times of tokens; see ``ctranslate2.models.Whisper.align``."""
        fitted = self._fitted.get(features)
        if fitted is not None and fitted.pooling > 1:
            features = self._encode(fitted.windows, fitted.positions)
        if self._encoder_pooling > 1:  # it counts positions of 20 ms
            states = np.array(features).repeat(self._encoder_pooling, axis=1)
            features = ctranslate2.StorageView.from_array(states)
        return self._whisper.align(features, *positional, **options)

    def _encode(
        self, windows: Float32[np.ndarray, "batch n_mels frames"], positions: int, pooling: int = 1
    ) -> Any:
        # an encoder's last pair may be of one, what is pooled here leaves the rest out
        read = -(-positions // self._encoder_pooling) // pooling
        if read == windows.shape[1]:  # CTranslate2 takes [batch, n_mels, width] for features
            positions += pooling * self._encoder_pooling
        states = self._encoder.encode(windows[:, :, : positions * FRAMES_PER_POSITION])
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(pooled(states, pooling)))

    def _decode(self, encoded: Any, prompts: Sequence[Any], options: dict[str, Any]) -> list[Any]:
        if self._greedy is not None and self._greedy.takes(prompts, options):
            return list(self._greedy.generate(np.asarray(encoded), prompts, **options))
        results: list[Any] = self._whisper.generate(encoded, prompts, **options)
        return results

    def _loops(
        self, rows: Iterable[int], results: list[Any], prompts: Sequence[Any], options: Any
    ) -> list[int]:
        found = []
        for row in rows:
            tokens = results[row].sequences_ids[0]
            # a limit below the decoder's own was set by the caller
            own = options.get("max_length", self._max_length) == self._max_length
            room = min(self._max_length // 2, self._max_length - len(prompts[row]))
            text = self._tokenizer.decode(tokens)
            if is_loop(text, tokens=len(tokens), room=room if own else None):
                found.append(row)
        return found


@dataclass(slots=True)
class _Fitted:
    """Windows whose encoding is not all that the decoder could see; that once needed."""

    windows: Float32[np.ndarray, "batch n_mels frames"]
    positions: int
    pooling: int
    full: Any = None


@dataclass(frozen=True, slots=True)
class _Recent:
    """The window that was encoded last."""

    windows: Float32[np.ndarray, "1 n_mels frames"]
    positions: int
    pooling: int
    encoded: Any
