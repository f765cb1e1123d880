"""The modules that take the place of dense layers and of attentions."""

from liteasr.nn.attention import LowRankSelfAttention, attend
from liteasr.nn.block import PackedBlock
from liteasr.nn.linear import LowRankLinear
from liteasr.nn.packed import PackedSelfAttention
from liteasr.nn.stacked import StackedProjections

__all__ = [
    "LowRankLinear",
    "LowRankSelfAttention",
    "PackedBlock",
    "PackedSelfAttention",
    "StackedProjections",
    "attend",
]
