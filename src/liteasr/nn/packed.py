"""A self-attention made ready for inference: fewer and larger products, scores in fewer dimensions.

Nothing is trained or saved in this form: it is made of an attention, as often as needed.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from liteasr.kernels import (
    Backend,
    QueryFold,
    ValueFold,
    fold_query_key,
    fold_value,
    low_rank_attention,
)
from liteasr.nn.linear import LowRankLinear
from liteasr.nn.stacked import StackedProjections

__all__ = ["PackedSelfAttention"]


class PackedSelfAttention(nn.Module):
    """The same attention with one product in place of three, and chains folded where it pays.

    It pays where the inner features of a chain are narrower than a head: products over all pairs
    of positions are then done in that width, as in the paper. Queries and keys fold together,
    values by themselves.

    Args:
        q_proj: Query layer, dense or a chain.
        k_proj: Key layer.
        v_proj: Value layer.
        out_proj: Output layer.
        heads: Number of heads.
        scaling: Factor of the scores.
        backend: How the attention is computed; see `low_rank_attention`.
    """

    score_matrix: Tensor | None
    score_bias: Tensor | None
    value_matrix: Tensor | None
    value_bias: Tensor | None

    def __init__(
        self,
        *,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        out_proj: nn.Module,
        heads: int,
        scaling: float,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        scores = _score_fold(q_proj, k_proj, heads)
        values = _value_fold(v_proj, heads)
        folded = (*((0, 1) if scores else ()), *((2,) if values else ()))
        self.projections = StackedProjections((q_proj, k_proj, v_proj), open_chains=folded)
        self.out_proj = out_proj
        self.heads, self.scaling, self.backend = heads, scaling, backend
        for name, fold in (("score", scores), ("value", values)):
            matrix, bias = fold or (None, None)
            self.register_buffer(f"{name}_matrix", matrix, persistent=False)
            self.register_buffer(f"{name}_bias", bias, persistent=False)

    def forward(
        self,
        hidden_states: Float[Tensor, "batch seq in"],
        attention_mask: Tensor | None = None,
        **unused: object,
    ) -> tuple[Float[Tensor, "batch seq out"], None]:
        """Attend, as `LowRankSelfAttention` does."""
        query, key, value = self.projections(hidden_states)
        scores = values = None
        if self.score_matrix is not None and self.score_bias is not None:
            scores = QueryFold(self.score_matrix, self.score_bias)
        else:
            query, key = self._by_head(query), self._by_head(key)
        if self.value_matrix is not None and self.value_bias is not None:
            values = ValueFold(self.value_matrix, self.value_bias)
        else:
            value = self._by_head(value)
        attended = low_rank_attention(
            query, key, value, scaling=self.scaling, mask=attention_mask,
            query_fold=scores, value_fold=values, backend=self.backend,
        )  # fmt: skip
        return self.out_proj(attended.transpose(1, 2).flatten(-2)), None

    def extra_repr(self) -> str:
        """Show what the layers do not."""
        folded = [
            name for name in ("score", "value") if getattr(self, f"{name}_matrix") is not None
        ]
        return f"heads={self.heads}, folded={folded}, backend={self.backend}"

    def _by_head(self, features: Tensor) -> Tensor:
        return features.view(*features.shape[:-1], self.heads, -1).transpose(1, 2)


def _score_fold(query: nn.Module, key: nn.Module, heads: int) -> QueryFold | None:
    if not (isinstance(query, LowRankLinear) and isinstance(key, LowRankLinear)):
        return None
    if key.rank >= key.out_features // heads:
        return None
    return fold_query_key(query.up.weight, query.up.bias, key.up.weight, heads=heads)


def _value_fold(value: nn.Module, heads: int) -> ValueFold | None:
    if not isinstance(value, LowRankLinear) or value.rank >= value.out_features // heads:
        return None
    return fold_value(value.up.weight, value.up.bias, heads=heads)
