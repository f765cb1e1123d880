"""The products of an encoder as fast as the device allows: tensors only, one entry for each."""

from liteasr.kernels.attention import Backend, low_rank_attention
from liteasr.kernels.folding import QueryFold, ValueFold, fold_query_key, fold_value

__all__ = [
    "Backend",
    "QueryFold",
    "ValueFold",
    "fold_query_key",
    "fold_value",
    "low_rank_attention",
]
