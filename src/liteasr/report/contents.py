"""What a directory of results holds: a sweep, an evaluation, a benchmark, or some of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from liteasr.benchmark import BENCHMARK_NAME, BenchmarkResults, BenchmarkRow
from liteasr.errors import EvaluationError
from liteasr.evaluation import ALL, EvaluationMatrix, MatrixRow, Rules, read_results
from liteasr.evaluation.store import INDEX_NAME
from liteasr.sweep import DENSE, SweepResults, SweepRow
from liteasr.sweep.results import SWEEP_NAME

__all__ = ["Contents", "Point", "read_contents"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One model where cost and quality meet.

    Attributes:
        label: Of the model.
        method: Decides the color.
        cost: In the unit of the picture.
        quality: Error rate, or KL where nothing was scored; less is better.
        interval: Its 95 % interval.
    """

    label: str
    method: str
    cost: float
    quality: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """The results of a directory; what is missing is None.

    Attributes:
        directory: Where they are.
        sweep: Sizes and methods.
        matrix: Scores.
        benchmark: Speeds.
        rules: How texts were normalized.
    """

    directory: Path
    sweep: SweepResults | None
    matrix: EvaluationMatrix | None
    benchmark: BenchmarkResults | None
    rules: Rules = "whisper"

    def score(self, model: str, corpus: str | None = None) -> MatrixRow | None:
        """The score of a model on a corpus, or on all of them; None where it has none."""
        if self.matrix is None:
            return None
        wanted = corpus or (ALL if len(self.matrix.corpora) > 1 else self.matrix.corpora[0])
        for row in self.matrix.rows():
            if (row.model, row.corpus, row.score.language) == (model, wanted, ALL):
                return row if row.score.counts.n else None
        return None

    def measured(self, row: SweepRow) -> BenchmarkRow | None:
        """The speed of a model of the sweep: found by its name, or that of its checkpoint."""
        if self.benchmark is None or self.sweep is None:
            return None
        names = {row.label, row.checkpoint and Path(row.checkpoint).name}
        if row.label == DENSE:
            names.add(self.sweep.model)
        return next((found for found in self.benchmark.rows if found.label in names), None)

    def points(self, cost: str) -> list[Point]:
        """Every model of the sweep by ``parameters``, ``flops`` or ``ms``, where it is known."""
        found = []
        for row in self.sweep.rows if self.sweep else ():
            measured = self.measured(row)
            costs = {"parameters": row.encoder_parameters / 1e6, "flops": row.flops / 1e9}
            if measured is not None and measured.encoder_ms is not None:
                costs["ms"] = measured.encoder_ms.median
            if cost not in costs:
                continue
            score = self.score(row.label)
            quality, interval = row.mean_kl, row.kl_interval
            if self.matrix is not None:
                if score is None or score.score.interval is None:
                    continue
                quality, interval = score.score.counts.rate, score.score.interval
            found.append(
                Point(
                    label=row.label,
                    method=row.method,
                    cost=costs[cost],
                    quality=quality,
                    interval=interval,
                )
            )
        return found

    @property
    def quality(self) -> str:
        """What `points` hold: ``WER``, ``CER`` or ``KL``."""
        if self.matrix is None:
            return "KL"
        scores = [self.score(model) for model in self.matrix.models]
        units = {score.score.counts.unit for score in scores if score is not None}
        return "CER" if units == {"character"} else "WER"


def read_contents(directory: str | os.PathLike[str], rules: Rules = "whisper") -> Contents:
    """Read whatever results a directory holds.

    Raises:
        EvaluationError: None, or damaged ones.
        CorpusError: Damaged hypotheses.
    """
    place = Path(directory)
    sweep = SweepResults.load(place) if (place / SWEEP_NAME).is_file() else None
    benchmark = BenchmarkResults.load(place) if (place / BENCHMARK_NAME).is_file() else None
    scored = (place / INDEX_NAME).is_file()
    matrix = read_results(place, rules=rules) if scored else None
    if sweep is None and benchmark is None and matrix is None:
        raise EvaluationError(
            f"{place} holds no results: make some with `liteasr sweep`, `liteasr benchmark` or "
            "`liteasr evaluate --hypotheses`"
        )
    return Contents(directory=place, sweep=sweep, matrix=matrix, benchmark=benchmark, rules=rules)
