"""faster-whisper (CTranslate2), in float32 or int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Float

from liteasr._optional import require
from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.errors import SourceError
from liteasr.sources import fetch

__all__ = ["FasterWhisperBackend"]


@final
class FasterWhisperBackend:
    """A CTranslate2 directory, a bundled name, or a name that faster-whisper downloads."""

    unshown: ClassVar[Unshown] = {}

    def __init__(self, spec: BackendSpec) -> None:
        package = require("faster_whisper", extra="peers")
        kind = "int8" if spec.kind.endswith("-int8") else "float32"
        self.model = package.WhisperModel(
            _directory(spec.model), device="cpu", compute_type=kind, cpu_threads=spec.threads
        )
        self.greedy = {
            "language": spec.language,
            "beam_size": 1,
            "temperature": 0.0,
            "without_timestamps": True,
            "condition_on_previous_text": False,
            "no_speech_threshold": None,
        }

    def features(self, waveform: Float[np.ndarray, "samples"]) -> Any:
        """Padded to 30 seconds, as its own loop does."""
        extractor = self.model.feature_extractor
        found = extractor(waveform)[:, : extractor.nb_max_frames]
        return np.pad(found, ((0, 0), (0, extractor.nb_max_frames - found.shape[-1])))

    def encode(self, features: Any) -> None:
        """The result is read, so that it is waited for."""
        np.asarray(self.model.encode(features))

    def first_token(self, waveform: Float[np.ndarray, "samples"]) -> None:
        """One new token of the first window."""
        segments, _ = self.model.transcribe(waveform, **self.greedy, max_new_tokens=1)
        next(segments, None)

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """All segments."""
        segments, _ = self.model.transcribe(waveform, **self.greedy)
        return "".join(segment.text for segment in segments).strip()


def _directory(model: str) -> str:
    if Path(model).is_dir():
        return model
    try:
        return str(fetch(model))
    except SourceError:
        return model  # a name of faster-whisper's own
