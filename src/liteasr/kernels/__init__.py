"""The products of an encoder as fast as the device allows: tensors only, one entry for each."""

from liteasr.kernels.attention import Backend, low_rank_attention
from liteasr.kernels.chain import Activation, ChainBackend, low_rank_chain
from liteasr.kernels.folding import QueryFold, ValueFold, fold_query_key, fold_value

__all__ = [
    "Activation",
    "Backend",
    "ChainBackend",
    "QueryFold",
    "ValueFold",
    "fold_query_key",
    "fold_value",
    "low_rank_attention",
    "low_rank_chain",
]
