"""Error counts that add up, so that a corpus rate is a sum over a sum."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from liteasr._optional import require
from liteasr.evaluation.normalize import Rules, normalizer_for, unit_for

__all__ = [
    "Alignment",
    "ErrorCounts",
    "align_utterance",
    "mean_clip_rate",
    "score_utterance",
    "total_counts",
]

UNITS = ("word", "character")


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorCounts:
    """How a hypothesis differs from its reference, in words or characters.

    A reference that is empty after normalization has n = 0: its insertions count as errors and
    add nothing to the words.

    Attributes:
        substitutions: Units replaced by another.
        deletions: Units of the reference left out.
        insertions: Units that the reference does not have.
        hits: Units that agree.
        unit: ``"word"`` (WER) or ``"character"`` (CER).
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0
    unit: str = "word"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {self.unit!r}")
        for name in ("substitutions", "deletions", "insertions", "hits"):
            if (count := getattr(self, name)) < 0:
                raise ValueError(f"{name} must not be negative, got {count}")

    @property
    def errors(self) -> int:
        """Give S + D + I."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def n(self) -> int:
        """Give the length of the reference: H + S + D."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Give (S + D + I) / n as a fraction; for n = 0 it is 0 without errors, else infinite."""
        if self.n == 0:
            return 0.0 if self.errors == 0 else math.inf
        return self.errors / self.n

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        if self.unit != other.unit:
            raise ValueError(f"cannot add {self.unit} errors and {other.unit} errors")
        return ErrorCounts(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            hits=self.hits + other.hits,
            unit=self.unit,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` gave; unknown keys are dropped."""
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """How two texts differ, and where most was made up.

    Attributes:
        counts: The fewest edits between them.
        longest_insertion: Most units in a row that the reference does not have.
    """

    counts: ErrorCounts
    longest_insertion: int


def score_utterance(
    reference: str, hypothesis: str, language: str | None, rules: Rules = "whisper"
) -> ErrorCounts:
    """Compare two texts after normalization, by the fewest edits between them.

    Raises:
        MissingDependencyError: The extra ``evaluate`` is not installed.
    """
    return align_utterance(reference, hypothesis, language, rules).counts


def align_utterance(
    reference: str, hypothesis: str, language: str | None, rules: Rules = "whisper"
) -> Alignment:
    """Compare two texts after normalization, and find the longest insertion too.

    Raises:
        MissingDependencyError: The extra ``evaluate`` is not installed.
    """
    jiwer = require("jiwer", extra="evaluate")
    normalize = normalizer_for(language, rules)
    unit = unit_for(language)
    align = jiwer.process_words if unit == "word" else jiwer.process_characters
    found = align(normalize(reference), normalize(hypothesis))
    counts = ErrorCounts(
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
        hits=found.hits,
        unit=unit,
    )
    inserted = [
        chunk.hyp_end_idx - chunk.hyp_start_idx
        for chunk in found.alignments[0]
        if chunk.type == "insert"
    ]
    return Alignment(counts=counts, longest_insertion=max(inserted, default=0))


def total_counts(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """Add counts of one unit up; nothing gives zero words.

    Raises:
        ValueError: The units differ.
    """
    given = list(counts)
    return sum(given[1:], given[0]) if given else ErrorCounts()


def mean_clip_rate(counts: Sequence[ErrorCounts]) -> float:
    """Give the LiteASR paper's "WER": each clip's percentage to two decimals, then their mean.

    mean over clips of round(100 rate, 2), divided by 100 to be a fraction as other rates are.
    Short clips weigh as much as long ones, so this is no corpus rate and must be labelled.
    Clips without reference words are left out; without any clip it is 0.

    Reference: LiteASR (arXiv:2502.20583), evaluation script.
    """
    rates = [round(100 * one.rate, 2) for one in counts if one.n > 0]
    return sum(rates) / len(rates) / 100 if rates else 0.0
