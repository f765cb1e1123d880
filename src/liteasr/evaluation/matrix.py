"""Many models on many corpora: rates, and how sure the differences to one model are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from liteasr.errors import EvaluationError
from liteasr.evaluation.bootstrap import paired_bootstrap_interval
from liteasr.evaluation.report import EvaluationReport, ScoredUtterance, ScoreRow

__all__ = ["ALL", "Cell", "EvaluationMatrix", "MatrixRow"]

ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One model on one corpus."""

    model: str
    corpus: str
    report: EvaluationReport


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixRow:
    """The result of one model on the utterances of one language, in one corpus or in all.

    Attributes:
        model: Label of the model.
        corpus: Label of the corpus, or ``all`` for the sum over corpora.
        score: Rates, counts and times.
        difference: Rate minus that of the reference model; None for that model itself, and
            where the two cannot be paired.
        difference_interval: Its 95 % bootstrap interval, both models on the same draws.
    """

    model: str
    corpus: str
    score: ScoreRow
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        interval = self.difference_interval
        return {
            "model": self.model,
            "corpus": self.corpus,
            **self.score.to_dict(),
            "minus_reference": self.difference,
            "minus_reference_95": None if interval is None else list(interval),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationMatrix:
    """The results of an evaluation.

    Attributes:
        cells: Every model on every corpus, model by model.
        reference: Label of the model that the others are compared with.
    """

    cells: tuple[Cell, ...]
    reference: str
    _made: list[MatrixRow] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.cells:
            raise EvaluationError("there are no results: nothing was evaluated")
        if self.reference not in self.models:
            raise EvaluationError(
                f"the reference {self.reference} is not among the models {', '.join(self.models)}"
            )

    @property
    def models(self) -> tuple[str, ...]:
        """Give the labels of the models, in order."""
        return tuple(dict.fromkeys(cell.model for cell in self.cells))

    @property
    def corpora(self) -> tuple[str, ...]:
        """Give the labels of the corpora, in order."""
        return tuple(dict.fromkeys(cell.corpus for cell in self.cells))

    def report(self, model: str, corpus: str) -> EvaluationReport | None:
        """Give the report of a cell, or None where it is missing."""
        found = (c.report for c in self.cells if (c.model, c.corpus) == (model, corpus))
        return next(found, None)

    def rows(self) -> tuple[MatrixRow, ...]:
        """Give a row for each model, corpus and language, with sums where units allow them."""
        if not self._made:  # the intervals take time, and tables and pictures ask again
            self._made.extend(self._make_rows())
        return tuple(self._made)

    def _make_rows(self) -> list[MatrixRow]:
        found: list[MatrixRow] = []
        for model in self.models:
            for corpus in self.corpora:
                if (report := self.report(model, corpus)) is not None:
                    found.extend(self._rows(model, corpus, report.utterances))
            heard = [cell.corpus for cell in self.cells if cell.model == model]
            if len(self.corpora) > 1 and len(heard) == len(self.corpora):
                found.extend(self._rows(model, ALL, self._pooled(model)))
        return found

    def mean_over_corpora(self, model: str) -> float | None:
        """Give the mean of the corpus rates, as the Open ASR Leaderboard ranks by.

        None where a corpus is missing or has no rate of its own.
        """
        rates = []
        for corpus in self.corpora:
            report = self.report(model, corpus)
            total = None if report is None else report.total
            if total is None or not total.counts.n:
                return None
            rates.append(total.counts.rate)
        return fmean(rates)

    def _rows(
        self, model: str, corpus: str, utterances: Sequence[ScoredUtterance]
    ) -> Iterable[MatrixRow]:
        against = self._against(model, corpus)
        groups: dict[str, list[int]] = {}
        for place, one in enumerate(utterances):
            groups.setdefault(one.language or "unknown", []).append(place)
        if len({one.counts.unit for one in utterances}) == 1:
            groups = {**(groups if len(groups) > 1 else {}), ALL: list(range(len(utterances)))}
        for name in sorted(groups, key=lambda name: (name == ALL, name)):
            mine = [utterances[place] for place in groups[name]]
            theirs = against and [against[place] for place in groups[name]]
            yield _row(model, corpus, name, mine, theirs or None)

    def _against(self, model: str, corpus: str) -> Sequence[ScoredUtterance] | None:
        """What the reference model wrote in the same utterances; None where it did not."""
        if model == self.reference:
            return None
        mine = self._utterances(model, corpus)
        theirs = self._utterances(self.reference, corpus)
        same = [(a.id, a.reference) for a in mine] == [(b.id, b.reference) for b in theirs]
        return theirs if same else None

    def _utterances(self, model: str, corpus: str) -> Sequence[ScoredUtterance]:
        if corpus == ALL:
            return self._pooled(model)
        report = self.report(model, corpus)
        return () if report is None else report.utterances

    def _pooled(self, model: str) -> tuple[ScoredUtterance, ...]:
        return tuple(
            one for cell in self.cells if cell.model == model for one in cell.report.utterances
        )


def _row(
    model: str,
    corpus: str,
    language: str,
    mine: Sequence[ScoredUtterance],
    theirs: Sequence[ScoredUtterance] | None,
) -> MatrixRow:
    score = ScoreRow.of(language, mine)
    # a language that each model detects for itself may have led to other normalizers
    pairs = [(a.counts, b.counts) for a, b in zip(mine, theirs or (), strict=bool(theirs))]
    alike = all((a.n, a.unit) == (b.n, b.unit) for a, b in pairs)
    if not pairs or not alike or not score.counts.n:
        return MatrixRow(model=model, corpus=corpus, score=score)
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    n = score.counts.n
    difference = (sum(a.errors for a in first) - sum(b.errors for b in second)) / n
    return MatrixRow(
        model=model,
        corpus=corpus,
        score=score,
        difference=difference,
        difference_interval=paired_bootstrap_interval(first, second),
    )
