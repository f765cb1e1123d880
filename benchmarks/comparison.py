"""What the accuracy benchmarks share: disjoint parts, encoder sizes, one row per model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import liteasr
from liteasr.cli.screen import Screen
from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.evaluation import EvaluationReport, evaluate, paired_bootstrap_interval

__all__ = ["Comparison", "parts", "size_for"]


def parts(
    refs: list[str], language: str, calibration: int, seed: int = 0
) -> tuple[liteasr.Corpus, liteasr.Corpus]:
    """Split the clips of one language of every corpus, and join first and second parts."""
    first, second = [], []
    for ref in refs:
        whole = liteasr.load_corpus(ref)
        spoken = tuple(u for u in whole if u.language == language)
        corpus = liteasr.Corpus(utterances=spoken, origin=f"{language} clips of {ref}")
        count = max(1, min(calibration, len(corpus) // 2))
        a, b = corpus.split(count, seed=seed)
        first.extend(replace(u, id=f"{ref}:{u.id}") for u in a)
        second.extend(replace(u, id=f"{ref}:{u.id}") for u in b)
    return (
        liteasr.Corpus(utterances=tuple(first), origin="calibration parts"),
        liteasr.Corpus(utterances=tuple(second), origin="scored parts"),
    )


def size_for(
    model: liteasr.SpeechModel, plan_at: Callable[[float], liteasr.RankPlan], size_m: float
) -> liteasr.RankPlan:
    """Bisect a setting in [0, 0.5], the share of variance that is missed, to an encoder size."""
    low, high = 0.0, 0.5
    for _ in range(30):
        middle = (low + high) / 2
        too_large = _size_m(model, plan_at(middle)) > size_m
        low, high = (middle, high) if too_large else (low, middle)
    return plan_at(high)


def _size_m(model: liteasr.SpeechModel, plan: liteasr.RankPlan) -> float:
    """Encoder parameters in millions that a plan leads to, the new biases included."""
    encoder = adapter_for(model.model).encoder(model.model)
    gained = sum(
        layer.out_features
        for layer in plan
        if layer.rank is not None and encoder.get_submodule(layer.name).bias is None
    )
    saved = plan.dense_parameters - plan.parameters
    return (encoder_parameters(model.model) - saved + gained) / 1e6


class Comparison:
    """Scores models on one corpus beside the dense one, and keeps the rows."""

    def __init__(self, dense: liteasr.SpeechModel, scored: liteasr.Corpus, screen: Screen) -> None:
        self.scored, self.screen = scored, screen
        self.rows: list[dict[str, Any]] = []
        self.dense = self._score(dense)
        self._add("dense", dense, self.dense)

    def add(self, label: str, model: liteasr.SpeechModel) -> None:
        """Score a model and print its row."""
        self._add(label, model, self._score(model))

    def write(self, path: Path, **facts: Any) -> None:
        """Write everything as JSON."""
        result = {
            **facts,
            "scored": {"utterances": len(self.scored), "sha256": self.scored.fingerprint()},
            "environment": dict(self.dense.environment),
            "decoding": "greedy, no fallback, no timestamps, language as the corpus says",
            "rows": self.rows,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n")

    def _score(self, model: liteasr.SpeechModel) -> EvaluationReport:
        options = liteasr.TranscriptionOptions(temperature=(0.0,), timestamps=False)
        transcriber = liteasr.transcriber_for(model)
        return evaluate(transcriber, self.scored, options, track=self.screen.track)

    def _add(self, label: str, model: liteasr.SpeechModel, report: EvaluationReport) -> None:
        total = report.total
        assert total is not None
        mine, theirs = ([u.counts for u in r.utterances] for r in (report, self.dense))
        row = {
            "model": label,
            "encoder_m": round(encoder_parameters(model.model) / 1e6, 3),
            "wer": total.counts.rate,
            "interval_95": total.interval,
            "difference_to_dense_95": paired_bootstrap_interval(mine, theirs),
            "n_words": total.counts.n,
            "clip_mean_paper": total.mean_clip_rate,
            "rtfx": total.rtfx,
        }
        self.rows.append(row)
        print(json.dumps(row), flush=True)
