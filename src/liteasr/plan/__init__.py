"""Moments in, a rank plan out: a form, a rank and a reason for every layer."""

from liteasr.plan.budget import BudgetConfig
from liteasr.plan.planner import plan_ranks
from liteasr.plan.rank_plan import LayerPlan, RankPlan
from liteasr.plan.spectra import spectra_of
from liteasr.plan.threshold import PRESETS, ThresholdConfig

__all__ = [
    "PRESETS",
    "BudgetConfig",
    "LayerPlan",
    "RankPlan",
    "ThresholdConfig",
    "plan_ranks",
    "spectra_of",
]
