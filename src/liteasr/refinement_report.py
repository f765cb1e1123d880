"""How a refinement went: the curve, and what was kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from liteasr.atomic import write_text
from liteasr.record import known_fields

__all__ = ["CurvePoint", "RefinementReport"]


class CurvePoint(NamedTuple):
    """One check: mean loss of the steps since the last one, and the same on held-out audio.

    What is held out counts without the errors of the blocks; ``kl`` is the decoder's part of it.
    """

    step: int
    loss: float | None
    held_out: float
    kl: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RefinementReport:
    """What became of the encoder's distance to the original one.

    Attributes:
        before: Loss on held-out audio before the first step.
        after: The same with the weights that were kept.
        best_step: The step they come from; 0 where none did better than what was there
            before, which may be MLPs that learned alone.
        steps: Steps taken.
        seconds: Time they took, over all runs.
        curve: Every check.
        options: The settings.
        corpus: Where the audio came from.
        corpus_sha256: Fingerprint of the audio.
    """

    before: float
    after: float
    best_step: int
    steps: int
    seconds: float
    curve: tuple[CurvePoint, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    corpus: str = ""
    corpus_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready value."""
        return {
            **asdict(self),
            "options": dict(self.options),
            "curve": [point._asdict() for point in self.curve],
        }

    @classmethod
    def from_dict(cls, value: object) -> RefinementReport:
        """Read what `to_dict` gave; keys of a newer version are dropped and logged.

        Raises:
            ValueError: It is something else.
        """
        known = known_fields(cls, value)
        try:
            curve = tuple(CurvePoint(**point) for point in known["curve"])
        except TypeError as error:
            raise ValueError(f"'curve' is damaged: {error}") from error
        return cls(**{**known, "curve": curve})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")
