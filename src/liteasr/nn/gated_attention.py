"""Self-attention with a gated bias of relative positions, as in WavLM."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.nn.attention import attend

__all__ = ["GatedSelfAttention"]


class GatedSelfAttention(nn.Module):
    """softmax(scaling · Q Kᵀ + g · B) V, projected; B by relative position, g by query and head.

    transformers' module reads the weights of its four layers and never calls them, so nothing
    could be observed or reduced there; this one computes the same and calls them. The bias does not
    depend on queries and keys, so heads may be narrower: g is made of what enters the attention.

    g = a (b c - 1) + 2 with a, b the logistic of linear maps of a head's part of x, c a number
    per head.

    Reference: WavLM (arXiv:2110.13900), section III-A.

    Args:
        original: A ``WavLMAttention`` of transformers, whose parameters and names are kept.
    """

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.q_proj = original.q_proj
        self.k_proj = original.k_proj
        self.v_proj = original.v_proj
        self.out_proj = original.out_proj
        self.gru_rel_pos_const = original.gru_rel_pos_const
        self.gru_rel_pos_linear = original.gru_rel_pos_linear
        self.heads: int = original.num_heads
        self.scaling: float = original.scaling
        self.buckets: int = original.num_buckets
        self.max_distance: int = original.max_distance
        # the first block alone holds the table; the others are given what it made
        if "rel_attn_embed" in dict(original.named_children()):
            self.rel_attn_embed = original.rel_attn_embed

    @property
    def is_reduced(self) -> bool:
        """Whether heads are narrower than they were."""
        width = self.heads * int(self.gru_rel_pos_linear.in_features)
        return any(layer.out_features != width for layer in (self.q_proj, self.v_proj))

    def forward(
        self,
        hidden_states: Float[Tensor, "batch seq in"],
        attention_mask: Tensor | None = None,
        position_bias: Float[Tensor, "heads seq seq"] | None = None,
        index: int = 0,
        **unused: object,
    ) -> tuple[Float[Tensor, "batch seq out"], None, Float[Tensor, "heads seq seq"]]:
        """Attend; the last value is B, for the blocks that follow."""
        bias = (
            self.position_bias(hidden_states.shape[1]) if position_bias is None else position_bias
        )
        mask = self._gate(hidden_states) * bias
        if attention_mask is not None:  # [batch, seq], 1 where there is audio
            padding = attention_mask.ne(1)[:, None, None]
            mask = mask.masked_fill(padding, float("-inf"))
        query, key, value = (
            layer(hidden_states) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = attend(query, key, value, heads=self.heads, scaling=self.scaling, mask=mask)
        return self.out_proj(attended), None, bias

    def position_bias(self, seq: int) -> Float[Tensor, "heads seq seq"]:
        """B for that many positions; only the first block of an encoder can make it."""
        places = torch.arange(seq, device=self.rel_attn_embed.weight.device)
        distances = places[None] - places[:, None]
        buckets = _bucket(distances, self.buckets // 2, self.max_distance)
        bias: Tensor = self.rel_attn_embed(buckets).permute(2, 0, 1)
        return bias

    def _gate(self, hidden: Float[Tensor, "batch seq in"]) -> Float[Tensor, "batch heads seq 1"]:
        parts = hidden.view(*hidden.shape[:-1], self.heads, -1).transpose(1, 2)
        sums = self.gru_rel_pos_linear(parts)
        sums = sums.view(*sums.shape[:-1], 2, 4).sum(-1)
        a, b = torch.sigmoid(sums).chunk(2, dim=-1)
        gate: Tensor = a * (b * self.gru_rel_pos_const - 1.0) + 2.0
        return gate


def _bucket(distances: Tensor, buckets: int, most: int) -> Tensor:
    """Small distances have a bucket each, larger ones share them by their logarithm, up to most."""
    exact = buckets // 2
    size = distances.abs()
    share = torch.log(size.float() / exact) / math.log(most / exact)
    large = (exact + share * (buckets - exact)).to(torch.long).clamp_max(buckets - 1)
    return torch.where(distances > 0, buckets, 0) + torch.where(size < exact, size, large)
