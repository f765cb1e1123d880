"""What a benchmark asks of a recognizer, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

__all__ = ["Backend", "BackendSpec", "StagedBackend", "Unshown"]

Unshown = Mapping[str, str]  # a measure that a backend does not show, and why


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSpec:
    """Which recognizer to open, and how.

    Attributes:
        kind: Name of the backend, such as ``faster-whisper-int8``.
        model: What it opens: a path or a name.
        label: What tables call it.
        language: Of the audio.
        threads: CPU threads; more are not used.
    """

    kind: str
    model: str
    label: str
    language: str = "en"
    threads: int = 1


class Backend(Protocol):
    """One recognizer, opened; all decode greedily, without fallback and without timestamps."""

    @property
    def unshown(self) -> Unshown:
        """Measures that this backend cannot give (``encoder_ms``, ``first_token_ms``), and why."""
        ...

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """A whole recording (16 kHz, mono)."""
        ...


@runtime_checkable
class StagedBackend(Backend, Protocol):
    """One that shows what happens on the way to the text."""

    def features(self, waveform: Float[np.ndarray, "samples"]) -> Any:
        """What the encoder takes, for the first window."""
        ...

    def encode(self, features: Any) -> None:
        """One window through the encoder, waited for."""
        ...

    def first_token(self, waveform: Float[np.ndarray, "samples"]) -> None:
        """From a waveform in memory to the first token, and no further."""
        ...
