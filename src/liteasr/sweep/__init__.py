"""Many plans from one calibration, side by side."""

from liteasr.sweep.config import SweepConfig
from liteasr.sweep.methods import METHODS, Method, plan_by_method, plan_of_size
from liteasr.sweep.results import DENSE, SweepResults, SweepRow
from liteasr.sweep.session import sweep

__all__ = [
    "DENSE",
    "METHODS",
    "Method",
    "SweepConfig",
    "SweepResults",
    "SweepRow",
    "plan_by_method",
    "plan_of_size",
    "sweep",
]
