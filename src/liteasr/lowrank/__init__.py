"""The mathematics: tensors only, no model, no files."""

from liteasr.lowrank.allocation import Choice, allocate, lower_hull
from liteasr.lowrank.factors import Factors, break_even_rank, factorize
from liteasr.lowrank.hidden_units import (
    Elimination,
    Halves,
    HiddenUnits,
    eliminate,
    reduce_units,
)
from liteasr.lowrank.joint_attention import (
    Affine,
    AttentionSpectrum,
    AttentionWeights,
    QueryKeySpectrum,
    ValueOutputSpectrum,
    reduce_query_key,
    reduce_value_output,
)
from liteasr.lowrank.metric import Gradients, Metric
from liteasr.lowrank.moments import Moments
from liteasr.lowrank.pivots import Pivoted, pivoted
from liteasr.lowrank.spectra import Spectra
from liteasr.lowrank.spectrum import Spectrum
from liteasr.lowrank.threshold import rank_for_share

__all__ = [
    "Affine",
    "AttentionSpectrum",
    "AttentionWeights",
    "Choice",
    "Elimination",
    "Factors",
    "Gradients",
    "Halves",
    "HiddenUnits",
    "Metric",
    "Moments",
    "Pivoted",
    "QueryKeySpectrum",
    "Spectra",
    "Spectrum",
    "ValueOutputSpectrum",
    "allocate",
    "break_even_rank",
    "eliminate",
    "factorize",
    "lower_hull",
    "pivoted",
    "rank_for_share",
    "reduce_query_key",
    "reduce_units",
    "reduce_value_output",
]
