"""Encoders made ready for inference: the same output from fewer and larger products."""

from __future__ import annotations

from typing import Any, final

from jaxtyping import Float
from torch import Tensor, nn

from liteasr.encoders.registry import pooled_from
from liteasr.encoders.whisper import WhisperAdapter
from liteasr.errors import UnsupportedModelError
from liteasr.kernels import Backend
from liteasr.nn import LowRankSelfAttention, PackedBlock, PackedSelfAttention, pool_pairs, whole

__all__ = ["PackedEncoder", "pack_encoder"]


@final
class PackedEncoder(nn.Module):
    """Whisper's encoder, of any number of frames, without options, dropout or outputs in between.

    Layers that need no packing are those of the original, so both see each other's changes; those
    with pivots are put together once.
    """

    def __init__(self, encoder: Any, *, attention: Backend) -> None:
        super().__init__()
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.embed_positions = encoder.embed_positions
        self.blocks = nn.ModuleList(
            _packed_block(layer, attention=attention) for layer in encoder.layers
        )
        self.pooled_from = pooled_from(encoder)
        self.layer_norm = encoder.layer_norm

    def forward(
        self, input_features: Float[Tensor, "batch n_mels frames"]
    ) -> Float[Tensor, "batch seq width"]:
        """The last hidden state."""
        hidden = WhisperAdapter().embed(self, {"input_features": input_features})
        for number, block in enumerate(self.blocks):
            hidden = block(pool_pairs(hidden) if number == self.pooled_from else hidden)
        output: Tensor = self.layer_norm(hidden)
        return output


def pack_encoder(model: Any, *, attention: Backend = "auto") -> PackedEncoder:
    """A recognizer's encoder for inference; the model is not changed.

    Queries, keys and values (or the first factors of their chains) become one product. Scores and
    weighted sums are done in the width of the chains' inner features where these are narrower than
    a head, and bias and GELU are part of the products.

    Args:
        model: The recognizer, dense or compressed.
        attention: How attentions are computed; see `low_rank_attention`.

    Raises:
        UnsupportedModelError: The encoder is not a Whisper's, or its activation is not GELU.
    """
    kind, activation = model.config.model_type, getattr(model.config, "activation_function", None)
    if kind not in WhisperAdapter().model_types or activation != "gelu":
        raise UnsupportedModelError(
            f"only Whisper encoders with GELU can be packed, this is a {kind!r} with {activation!r}"
        )
    encoder = WhisperAdapter().encoder(model)
    return PackedEncoder(encoder, attention=attention).eval()


def _packed_block(layer: Any, *, attention: Backend) -> PackedBlock:
    own = layer.self_attn
    heads = own.heads if isinstance(own, LowRankSelfAttention) else own.num_heads
    packed = PackedSelfAttention(
        q_proj=whole(own.q_proj), k_proj=whole(own.k_proj),
        v_proj=whole(own.v_proj), out_proj=whole(own.out_proj),
        heads=heads, scaling=own.scaling, backend=attention,
    )  # fmt: skip
    return PackedBlock(
        attention_norm=layer.self_attn_layer_norm,
        attention=packed,
        mlp_norm=layer.final_layer_norm,
        fc1=whole(layer.fc1),
        fc2=whole(layer.fc2),
    )
