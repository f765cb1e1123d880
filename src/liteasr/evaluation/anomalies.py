"""What a recognizer makes up: text over silence, bursts of inserted words, loops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

from liteasr.evaluation.error_rate import ErrorCounts
from liteasr.runtime.context import compression_ratio

__all__ = ["BURST_UNITS", "LOOP_RATIO", "AnomalyCounts", "is_loop"]

BURST_UNITS = 5  # inserted in a row
LOOP_RATIO = 2.4  # at which openai-whisper takes a decoding for failed


@dataclass(frozen=True, kw_only=True, slots=True)
class AnomalyCounts:
    """Utterances in which more was written than said; one utterance may count several times.

    Attributes:
        silent: Something was written where the reference holds no words.
        bursts: At least `BURST_UNITS` words (or characters) in a row that nobody said.
        loops: The text repeats itself, and the reference does not.
    """

    silent: int = 0
    bursts: int = 0
    loops: int = 0

    @classmethod
    def of(cls, utterances: Iterable[tuple[str, str, ErrorCounts, int]]) -> Self:
        """Count over (reference, hypothesis, counts, longest insertion)."""
        silent = bursts = loops = 0
        for reference, hypothesis, counts, longest in utterances:
            silent += counts.n == 0 and counts.insertions > 0
            bursts += longest >= BURST_UNITS
            loops += is_loop(reference, hypothesis)
        return cls(silent=silent, bursts=bursts, loops=loops)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        return asdict(self)


def is_loop(reference: str, hypothesis: str) -> bool:
    """Whether zlib shrinks the hypothesis more than `LOOP_RATIO` times, and the reference not.

    Source: ``compression_ratio_threshold`` of openai/whisper.
    """
    return compression_ratio(hypothesis) > LOOP_RATIO >= compression_ratio(reference)
