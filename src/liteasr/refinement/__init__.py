"""Training without labels: what the closed form left, learned back from unlabelled audio."""

from liteasr.refinement.config import RefinementConfig
from liteasr.refinement.plot import plot_curve, require_picture
from liteasr.refinement.session import refine_
from liteasr.refinement_report import CurvePoint, RefinementReport

__all__ = [
    "CurvePoint",
    "RefinementConfig",
    "RefinementReport",
    "plot_curve",
    "refine_",
    "require_picture",
]
