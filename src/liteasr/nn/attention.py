"""Self-attention whose heads may be narrower than they were."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from liteasr.kernels import Backend, low_rank_attention

__all__ = ["LowRankSelfAttention", "attend"]


class LowRankSelfAttention(nn.Module):
    """softmax(scaling · Q Kᵀ) V, projected, with as many features per head as the layers give.

    Queries and keys share one width per head, values may have another. Each of the four layers
    is an ordinary ``nn.Linear`` or a `LowRankLinear`.

    Args:
        q_proj: Query layer, [in] to [heads · r_qk].
        k_proj: Key layer, the same.
        v_proj: Value layer, [in] to [heads · r_v].
        out_proj: Output layer, [heads · r_v] to [out].
        heads: Number of heads.
        scaling: Factor of the scores: that of the original heads, whatever their width is now.
    """

    def __init__(
        self,
        *,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        out_proj: nn.Module,
        heads: int,
        scaling: float,
    ) -> None:
        super().__init__()
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.out_proj = out_proj
        self.heads = heads
        self.scaling = scaling

    def forward(
        self,
        hidden_states: Float[Tensor, "batch seq in"],
        attention_mask: Tensor | None = None,
        **unused: object,
    ) -> tuple[Float[Tensor, "batch seq out"], None]:
        """Attend; the second value stands for attention weights, which are never formed.

        Encoders pass on options of other attention kernels, which are ``unused`` here.
        """
        query, key, value = (
            layer(hidden_states) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = attend(
            query, key, value, heads=self.heads, scaling=self.scaling, mask=attention_mask
        )
        return self.out_proj(attended), None

    def extra_repr(self) -> str:
        """Show what the layers do not."""
        return f"heads={self.heads}, scaling={self.scaling:g}"


def attend(
    query: Float[Tensor, "batch seq query_key"],
    key: Float[Tensor, "batch seq query_key"],
    value: Float[Tensor, "batch seq values"],
    *,
    heads: int,
    scaling: float,
    mask: Tensor | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "batch seq values"]:
    """softmax(scaling · Q Kᵀ) V head by head: all that comes between an attention's layers."""
    query, key, value = (_by_head(t, heads) for t in (query, key, value))
    attended = low_rank_attention(query, key, value, scaling=scaling, mask=mask, backend=backend)
    return attended.transpose(1, 2).flatten(-2)


def _by_head(features: Tensor, heads: int) -> Tensor:
    return features.view(*features.shape[:-1], heads, -1).transpose(1, 2)
