"""Moments in, a rank plan out: a form, a rank and a reason for every layer."""

from liteasr.plan.anatomy import Anatomy, LayerAnatomy, anatomy_of
from liteasr.plan.budget import BudgetConfig
from liteasr.plan.cost import Costs
from liteasr.plan.eliminations import Eliminations
from liteasr.plan.fit import require_fit
from liteasr.plan.latency import Latencies, LatencyTable
from liteasr.plan.planner import plan_ranks
from liteasr.plan.rank_plan import LayerPlan, Pivot, RankPlan
from liteasr.plan.rules import DEFAULT_KEEP, rule_from, uses_readings, uses_units
from liteasr.plan.spectra import spectra_of
from liteasr.plan.stopwatch import device_name, latency_setting, measure_latency
from liteasr.plan.threshold import PRESETS, ThresholdConfig

__all__ = [
    "DEFAULT_KEEP",
    "PRESETS",
    "Anatomy",
    "BudgetConfig",
    "Costs",
    "Eliminations",
    "Latencies",
    "LatencyTable",
    "LayerAnatomy",
    "LayerPlan",
    "Pivot",
    "RankPlan",
    "ThresholdConfig",
    "anatomy_of",
    "device_name",
    "latency_setting",
    "measure_latency",
    "plan_ranks",
    "require_fit",
    "rule_from",
    "spectra_of",
    "uses_readings",
    "uses_units",
]
