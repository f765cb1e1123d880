"""What an evaluation found: every utterance, a row for each language, and one for all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from liteasr.evaluation.anomalies import AnomalyCounts
from liteasr.evaluation.bootstrap import bootstrap_interval
from liteasr.evaluation.error_rate import ErrorCounts, mean_clip_rate, total_counts

__all__ = ["EvaluationReport", "ScoreRow", "ScoredUtterance"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredUtterance:
    """One utterance, what was heard in it, and how far that is from the reference.

    Attributes:
        id: The corpus's name for it.
        language: Which decided the normalizer; None for the basic one.
        reference: As the corpus has it.
        hypothesis: As the model wrote it.
        counts: After normalization of both.
        duration_s: Of the recording.
        elapsed_s: To decode the file and transcribe it.
        longest_insertion: Most words (or characters) in a row that the reference does not have.
    """

    id: str
    language: str | None
    reference: str
    hypothesis: str
    counts: ErrorCounts
    duration_s: float
    elapsed_s: float
    longest_insertion: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` gave; unknown keys are dropped."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        return cls(**{**known, "counts": ErrorCounts.from_dict(known["counts"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """The result on some utterances of one unit.

    Attributes:
        language: Their language, or ``"all"``.
        utterances: How many.
        counts: Summed: ``counts.rate`` is the corpus WER or CER.
        interval: 95 % bootstrap interval of that rate; None without reference words.
        mean_clip_rate: The LiteASR paper's mean over clips, not a corpus rate.
        audio_s: Seconds of audio.
        compute_s: Seconds spent on it.
        anomalies: Utterances in which text was made up.
    """

    language: str
    utterances: int
    counts: ErrorCounts
    interval: tuple[float, float] | None
    mean_clip_rate: float
    audio_s: float
    compute_s: float
    anomalies: AnomalyCounts = field(default_factory=AnomalyCounts)

    @classmethod
    def of(cls, language: str, utterances: Sequence[ScoredUtterance]) -> Self:
        """Sum utterances up.

        Raises:
            ValueError: Their units differ.
        """
        counts = [one.counts for one in utterances]
        total = total_counts(counts)
        return cls(
            language=language,
            utterances=len(utterances),
            counts=total,
            interval=bootstrap_interval(counts) if total.n else None,
            mean_clip_rate=mean_clip_rate(counts),
            audio_s=sum(one.duration_s for one in utterances),
            compute_s=sum(one.elapsed_s for one in utterances),
            anomalies=AnomalyCounts.of(
                (one.reference, one.hypothesis, one.counts, one.longest_insertion)
                for one in utterances
            ),
        )

    @property
    def rtfx(self) -> float:
        """Give seconds of audio per second of compute; 0 where nothing was timed."""
        return self.audio_s / self.compute_s if self.compute_s > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold, the derived ones too."""
        return {
            "language": self.language,
            "unit": self.counts.unit,
            "utterances": self.utterances,
            "n": self.counts.n,
            "substitutions": self.counts.substitutions,
            "deletions": self.counts.deletions,
            "insertions": self.counts.insertions,
            "rate": self.counts.rate if self.counts.n else None,
            "interval_95": None if self.interval is None else list(self.interval),
            "mean_clip_rate": self.mean_clip_rate if self.counts.n else None,
            "audio_s": self.audio_s,
            "compute_s": self.compute_s,
            "rtfx": self.rtfx,
            "anomalies": self.anomalies.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """An evaluation and the conditions under which its numbers hold.

    Attributes:
        model: Name of the model.
        utterances: In the order of the corpus.
        options: Those of the decoding.
        environment: Versions and machine.
        warm_up: What ran before the clock did.
    """

    model: str
    utterances: tuple[ScoredUtterance, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    warm_up: str = "none"

    @property
    def rows(self) -> tuple[ScoreRow, ...]:
        """Give one row for each language, sorted."""
        groups: dict[str, list[ScoredUtterance]] = {}
        for one in self.utterances:
            groups.setdefault(one.language or "unknown", []).append(one)
        return tuple(ScoreRow.of(name, groups[name]) for name in sorted(groups))

    @property
    def total(self) -> ScoreRow | None:
        """Give the row over all; None where words and characters would have to be added."""
        if len({one.counts.unit for one in self.utterances}) > 1:
            return None
        return ScoreRow.of("all", self.utterances)

    @property
    def rtfx(self) -> float:
        """Give seconds of audio per second of compute over everything."""
        compute_s = sum(one.elapsed_s for one in self.utterances)
        return sum(one.duration_s for one in self.utterances) / compute_s if compute_s > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold, without the utterances."""
        total = self.total
        return {
            "model": self.model,
            "total": None if total is None else total.to_dict(),
            "languages": [row.to_dict() for row in self.rows],
            "rtfx": self.rtfx,
            "warm_up": self.warm_up,
            "options": dict(self.options),
            "environment": dict(self.environment),
        }
