"""Attention in the reduced dimension: the second factors of a chain folded into the scores.

With chains q = W_q2 q₁ + b_q, k = W_k2 k₁ + b_k and v = W_v2 v₁ + b_v, whose first parts q₁, k₁
and v₁ all heads share, head h's scores are

    q₁ᵀ M_h k₁ + (W_q2ʰᵀ b_kʰ)ᵀ q₁ + (W_k2ʰᵀ b_qʰ)ᵀ k₁ + b_qʰᵀ b_kʰ,   M_h = W_q2ʰᵀ W_k2ʰ

The second and the fourth term are the same for every key, so softmax ignores them and the key's
bias with them. The shares of a softmax add up to one, so W_v2ʰ and b_vʰ follow the weighted sum.

Reference: LiteASR (arXiv:2502.20583), section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["QueryFold", "ValueFold", "fold_query_key", "fold_value"]


class QueryFold(NamedTuple):
    """A head's scores are (q₁ᵀ matrix + bias) k₁.

    Attributes:
        matrix: M_h.
        bias: W_k2ʰᵀ b_qʰ.
    """

    matrix: Float[Tensor, "heads query_rank key_rank"]
    bias: Float[Tensor, "heads key_rank"]


class ValueFold(NamedTuple):
    """A head's output is matrix u + bias, with u the weighted sum of v₁.

    Attributes:
        matrix: W_v2ʰ.
        bias: b_vʰ.
    """

    matrix: Float[Tensor, "heads head_dim value_rank"]
    bias: Float[Tensor, "heads head_dim"]


def fold_query_key(
    query_up: Float[Tensor, "out query_rank"],
    query_bias: Float[Tensor, "out"],
    key_up: Float[Tensor, "out key_rank"],
    *,
    heads: int,
) -> QueryFold:
    """Multiply the second factors of queries and keys, in float64; the result has their dtype."""
    query, bias, key = (t.detach().to(torch.float64) for t in (query_up, query_bias, key_up))
    query = query.view(heads, -1, query.shape[-1])
    key = key.view(heads, -1, key.shape[-1])
    dtype = query_up.dtype
    return QueryFold(
        matrix=(query.mT @ key).to(dtype).contiguous(),
        bias=(bias.view(heads, 1, -1) @ key).squeeze(1).to(dtype).contiguous(),
    )


def fold_value(
    value_up: Float[Tensor, "out value_rank"], value_bias: Float[Tensor, "out"], *, heads: int
) -> ValueFold:
    """Split the second factor of the values by head."""
    return ValueFold(
        matrix=value_up.detach().view(heads, -1, value_up.shape[-1]).contiguous(),
        bias=value_bias.detach().view(heads, -1).contiguous(),
    )
