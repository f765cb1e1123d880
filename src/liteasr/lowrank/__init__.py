"""The mathematics: tensors only, no model, no files."""

from liteasr.lowrank.allocation import Choice, allocate
from liteasr.lowrank.factors import Factors, break_even_rank, factorize
from liteasr.lowrank.moments import Moments
from liteasr.lowrank.spectrum import Spectrum
from liteasr.lowrank.threshold import rank_for_share

__all__ = [
    "Choice",
    "Factors",
    "Moments",
    "Spectrum",
    "allocate",
    "break_even_rank",
    "factorize",
    "rank_for_share",
]
