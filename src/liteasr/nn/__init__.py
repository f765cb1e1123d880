"""The modules that take the place of dense layers."""

from liteasr.nn.linear import LowRankLinear

__all__ = ["LowRankLinear"]
