"""The modules that take the place of dense layers and of attentions."""

from liteasr.nn.attention import LowRankSelfAttention, attend
from liteasr.nn.block import PackedBlock
from liteasr.nn.convolution import LowRankConv1d
from liteasr.nn.gated_attention import GatedSelfAttention
from liteasr.nn.linear import LowRankLinear, whole
from liteasr.nn.packed import PackedSelfAttention
from liteasr.nn.pivots import Across, Pivots, pivot_weight_, pivots_of, without_pivots
from liteasr.nn.pooling import PAIR, pool_pairs, pool_pairs_before_, unpool_pairs_before_
from liteasr.nn.projection import (
    affine_of,
    chain_of,
    empty_chain,
    from_vectors,
    is_projection,
    sizes_of,
    to_vectors,
)
from liteasr.nn.rotary_attention import RotarySelfAttention
from liteasr.nn.stacked import StackedProjections

__all__ = [
    "PAIR",
    "Across",
    "GatedSelfAttention",
    "LowRankConv1d",
    "LowRankLinear",
    "LowRankSelfAttention",
    "PackedBlock",
    "PackedSelfAttention",
    "Pivots",
    "RotarySelfAttention",
    "StackedProjections",
    "affine_of",
    "attend",
    "chain_of",
    "empty_chain",
    "from_vectors",
    "is_projection",
    "pivot_weight_",
    "pivots_of",
    "pool_pairs",
    "pool_pairs_before_",
    "sizes_of",
    "to_vectors",
    "unpool_pairs_before_",
    "whole",
    "without_pivots",
]
