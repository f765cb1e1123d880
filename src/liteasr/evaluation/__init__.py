"""How good a recognizer is: word errors with their uncertainty, speed, and drift from dense."""

from liteasr.evaluation.anomalies import AnomalyCounts
from liteasr.evaluation.bootstrap import (
    bootstrap_interval,
    paired_bootstrap_interval,
    ratio_interval,
)
from liteasr.evaluation.campaign import evaluate_all, read_results
from liteasr.evaluation.candidates import (
    Candidate,
    corpus_labels,
    identity_of,
    model_labels,
)
from liteasr.evaluation.divergence import Divergence, UtteranceDivergence, measure_divergence
from liteasr.evaluation.error_rate import (
    ErrorCounts,
    mean_clip_rate,
    score_utterance,
    total_counts,
)
from liteasr.evaluation.hypotheses import read_hypotheses, rescore, write_hypotheses
from liteasr.evaluation.matrix import ALL, Cell, EvaluationMatrix, MatrixRow
from liteasr.evaluation.normalize import Rules, normalizer_for
from liteasr.evaluation.pareto import pareto_front
from liteasr.evaluation.reference import DenseReference, DenseUtterance, dense_reference
from liteasr.evaluation.report import EvaluationReport, ScoredUtterance, ScoreRow
from liteasr.evaluation.scoring import environment, evaluate

__all__ = [
    "ALL",
    "AnomalyCounts",
    "Candidate",
    "Cell",
    "DenseReference",
    "DenseUtterance",
    "Divergence",
    "ErrorCounts",
    "EvaluationMatrix",
    "EvaluationReport",
    "MatrixRow",
    "Rules",
    "ScoreRow",
    "ScoredUtterance",
    "UtteranceDivergence",
    "bootstrap_interval",
    "corpus_labels",
    "dense_reference",
    "environment",
    "evaluate",
    "evaluate_all",
    "identity_of",
    "mean_clip_rate",
    "measure_divergence",
    "model_labels",
    "normalizer_for",
    "paired_bootstrap_interval",
    "pareto_front",
    "ratio_interval",
    "read_hypotheses",
    "read_results",
    "rescore",
    "score_utterance",
    "total_counts",
    "write_hypotheses",
]
