"""How good a recognizer is: word errors with their uncertainty, speed, and drift from dense."""

from liteasr.evaluation.bootstrap import (
    bootstrap_interval,
    paired_bootstrap_interval,
    ratio_interval,
)
from liteasr.evaluation.divergence import Divergence, UtteranceDivergence, measure_divergence
from liteasr.evaluation.error_rate import (
    ErrorCounts,
    mean_clip_rate,
    score_utterance,
    total_counts,
)
from liteasr.evaluation.hypotheses import read_hypotheses, rescore, write_hypotheses
from liteasr.evaluation.normalize import normalizer_for
from liteasr.evaluation.reference import DenseReference, DenseUtterance, dense_reference
from liteasr.evaluation.report import EvaluationReport, ScoredUtterance, ScoreRow
from liteasr.evaluation.scoring import evaluate

__all__ = [
    "DenseReference",
    "DenseUtterance",
    "Divergence",
    "ErrorCounts",
    "EvaluationReport",
    "ScoreRow",
    "ScoredUtterance",
    "UtteranceDivergence",
    "bootstrap_interval",
    "dense_reference",
    "evaluate",
    "mean_clip_rate",
    "measure_divergence",
    "normalizer_for",
    "paired_bootstrap_interval",
    "ratio_interval",
    "read_hypotheses",
    "rescore",
    "score_utterance",
    "total_counts",
    "write_hypotheses",
]
