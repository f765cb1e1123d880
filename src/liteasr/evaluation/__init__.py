"""How good a recognizer is: word errors with their uncertainty, and speed."""

from liteasr.evaluation.bootstrap import bootstrap_interval, paired_bootstrap_interval
from liteasr.evaluation.error_rate import (
    ErrorCounts,
    mean_clip_rate,
    score_utterance,
    total_counts,
)
from liteasr.evaluation.hypotheses import read_hypotheses, rescore, write_hypotheses
from liteasr.evaluation.normalize import normalizer_for
from liteasr.evaluation.report import EvaluationReport, ScoredUtterance, ScoreRow
from liteasr.evaluation.scoring import evaluate

__all__ = [
    "ErrorCounts",
    "EvaluationReport",
    "ScoreRow",
    "ScoredUtterance",
    "bootstrap_interval",
    "evaluate",
    "mean_clip_rate",
    "normalizer_for",
    "paired_bootstrap_interval",
    "read_hypotheses",
    "rescore",
    "score_utterance",
    "total_counts",
    "write_hypotheses",
]
