"""The modules that take the place of dense layers and of attentions."""

from liteasr.nn.attention import LowRankSelfAttention, attend
from liteasr.nn.linear import LowRankLinear

__all__ = ["LowRankLinear", "LowRankSelfAttention", "attend"]
