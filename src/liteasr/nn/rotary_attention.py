"""Self-attention with rotary positions whose values may be narrower than queries and keys."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.nn.attention import attend

__all__ = ["RotarySelfAttention"]


class RotarySelfAttention(nn.Module):
    """softmax(scaling · R(Q) R(K)ᵀ) V, projected; R rotates the leading features of every head.

    Features 2i and 2i + 1 of a head are turned by position · frequency i, as in Moonshine. Queries
    and keys keep their width: a turn by a position commutes with no reduction across pairs.

    Reference: Su et al., RoFormer (arXiv:2104.09864).

    Args:
        q_proj: Query layer, [in] to [heads · head_dim].
        k_proj: Key layer, the same.
        v_proj: Value layer, [in] to [heads · r_v].
        o_proj: Output layer, [heads · r_v] to [out].
        heads: Number of heads.
        scaling: Factor of the scores.
    """

    def __init__(
        self,
        *,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        o_proj: nn.Module,
        heads: int,
        scaling: float,
    ) -> None:
        super().__init__()
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.o_proj = o_proj
        self.heads = heads
        self.scaling = scaling

    def forward(
        self,
        hidden_states: Float[Tensor, "batch seq in"],
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        **unused: Any,
    ) -> tuple[Float[Tensor, "batch seq out"], None]:
        """Attend; the second value stands for attention weights, which are never formed."""
        query, key = (
            self._rotated(layer(hidden_states), position_embeddings)
            for layer in (self.q_proj, self.k_proj)
        )
        value = self.v_proj(hidden_states)
        attended = attend(
            query, key, value, heads=self.heads, scaling=self.scaling, mask=attention_mask
        )
        return self.o_proj(attended), None

    def _rotated(
        self, features: Float[Tensor, "batch seq features"], turns: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "batch seq features"]:
        by_head = features.view(*features.shape[:-1], self.heads, -1)
        width = turns[0].shape[-1]  # cosines and sines of all frequencies, twice
        cosine, sine = (turn[:, :, None, : width // 2] for turn in turns)
        first, second = by_head[..., 0:width:2], by_head[..., 1:width:2]
        turned = torch.stack(
            (first * cosine - second * sine, second * cosine + first * sine), dim=-1
        )
        whole: Tensor = torch.cat((turned.flatten(-2), by_head[..., width:]), dim=-1)
        return whole.flatten(-2)

    def extra_repr(self) -> str:
        """Show what the layers do not."""
        return f"heads={self.heads}, scaling={self.scaling:g}"
