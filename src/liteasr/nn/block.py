"""A transformer block made ready for inference: norms before, GELU inside, residuals around."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from liteasr.nn.packed import PackedSelfAttention

__all__ = ["PackedBlock"]


class PackedBlock(nn.Module):
    """x + attention(norm(x)), and to that fc2(gelu(fc1(norm(x)))).

    Args:
        attention_norm: Before the attention.
        attention: Packed.
        mlp_norm: Before the MLP.
        fc1: Dense or a chain.
        fc2: The same.
    """

    def __init__(
        self,
        *,
        attention_norm: nn.Module,
        attention: PackedSelfAttention,
        mlp_norm: nn.Module,
        fc1: nn.Module,
        fc2: nn.Module,
    ) -> None:
        super().__init__()
        self.attention_norm = attention_norm
        self.attention = attention
        self.mlp_norm = mlp_norm
        self.fc1 = fc1
        self.fc2 = fc2

    def forward(self, x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "batch seq width"]:
        """Both halves; float16 is kept from overflowing as in transformers."""
        x = x + self.attention(self.attention_norm(x))[0]
        x = x + self.fc2(functional.gelu(self.fc1(self.mlp_norm(x))))
        if x.dtype == torch.float16:
            limit = torch.finfo(x.dtype).max - 1000
            x = x.clamp(-limit, limit)
        return x
