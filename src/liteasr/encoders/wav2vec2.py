"""wav2vec 2.0, HuBERT, WavLM and their kin (XLS-R, MMS, UniSpeech, data2vec) with a CTC head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders.base import AttentionSite, EncoderInput, MlpSite, Observation, Target
from liteasr.encoders.targets import narrowed, target
from liteasr.encoders.waveforms import WINDOW_S, full_waveform, waveform_inputs
from liteasr.errors import UnsupportedModelError
from liteasr.nn import GatedSelfAttention, LowRankSelfAttention

__all__ = ["Wav2Vec2Adapter"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
STEP, FIRST = 320, 400  # samples per position, and those that the first one needs


class Wav2Vec2Adapter:
    """Knows transformers over a convolved waveform: six linear layers a block, any length.

    Positions come from a convolution before the first block, so queries and keys may be reduced
    by head; WavLM's bias of relative positions is made of other things than queries and keys, so
    that this holds there too. The small adapters of MMS stay as they are.
    """

    model_types = frozenset(
        {"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio"}
    )

    def prepare_(self, model: Any) -> None:
        """Give WavLM attentions that call their layers; transformers' read the weights alone."""
        if model.config.model_type != "wavlm":
            return
        for layer in _layers(self.encoder(model)):
            if not isinstance(layer.attention, GatedSelfAttention):
                layer.attention = GatedSelfAttention(layer.attention).train(layer.training)

    def encoder(self, model: Any) -> nn.Module:
        """All but the CTC head."""
        encoder: nn.Module = model.base_model
        return encoder

    def targets(self, encoder: Any) -> tuple[Target, ...]:
        """q, k, v, out and both layers of the MLP, in every block."""
        return tuple(
            found
            for block, layer in enumerate(_layers(encoder))
            for found in self._block_targets(block, layer)
        )

    def convolutions(self, encoder: nn.Module) -> tuple[Target, ...]:
        """None."""
        return ()

    def attentions(self, encoder: Any) -> tuple[AttentionSite, ...]:
        """Every self-attention."""
        sites = []
        for block, layer in enumerate(_layers(encoder)):
            attention, name = layer.attention, f"encoder.layers.{block}.attention"
            if isinstance(attention, LowRankSelfAttention) or (
                isinstance(attention, GatedSelfAttention) and attention.is_reduced
            ):
                continue  # its heads are narrower already
            heads = encoder.config.num_attention_heads
            dim = encoder.config.hidden_size // heads
            sites.append(
                AttentionSite(
                    name=name,
                    heads=heads,
                    head_dim=dim,
                    scaling=dim**-0.5,
                    query=f"{name}.q_proj",
                    key=f"{name}.k_proj",
                    value=f"{name}.v_proj",
                    output=f"{name}.out_proj",
                )
            )
        return tuple(sites)

    def mlps(self, encoder: Any) -> tuple[MlpSite, ...]:
        """The one of every block."""
        return tuple(
            MlpSite(
                first=f"{name}.feed_forward.intermediate_dense",
                activation=f"{name}.feed_forward.intermediate_act_fn",
                second=f"{name}.feed_forward.output_dense",
                units=encoder.config.intermediate_size,
                ends_block=_norm_is_last(encoder)
                and getattr(encoder.config, "adapter_attn_dim", None) is None,
            )
            for name in self.blocks(encoder)
        )

    def narrowed(self, encoder: Any, site: AttentionSite) -> nn.Module:
        """The same module for WavLM, which takes heads of any width; plain attention elsewhere."""
        attention = encoder.get_submodule(site.name)
        return attention if isinstance(attention, GatedSelfAttention) else narrowed(encoder, site)

    def window_s(self, processor: Any) -> float:
        """30 s; shorter windows are not padded."""
        return WINDOW_S

    def full_window(self, encoder: Any) -> dict[str, Tensor]:
        """30 s of samples."""
        return full_waveform()

    def blocks(self, encoder: Any) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"encoder.layers.{block}" for block in range(len(_layers(encoder))))

    def embed(
        self, encoder: Any, tensors: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch seq width"]:
        """The convolutions over samples, and the one over positions."""
        features = encoder.feature_extractor(tensors["input_values"]).transpose(1, 2)
        projected = encoder.feature_projection(features)
        hidden: Tensor = projected[0] if isinstance(projected, tuple) else projected
        hidden = hidden + encoder.encoder.pos_conv_embed(hidden)
        return hidden if _norm_is_last(encoder) else encoder.encoder.layer_norm(hidden)

    def run_from(
        self, encoder: Any, block: int, hidden: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch seq width"]:
        """The layers from there on, the last norm, and convolutions behind it where there are."""
        layers = _layers(encoder)
        first = layers[0].attention if layers else None
        extras: dict[str, Tensor] = {}
        if isinstance(first, GatedSelfAttention):
            extras["position_bias"] = first.position_bias(hidden.shape[1])
        for layer in layers[block:]:
            found = layer(hidden, **extras)
            hidden = found[0] if isinstance(found, tuple) else found
        if _norm_is_last(encoder):
            hidden = encoder.encoder.layer_norm(hidden)
        behind = dict(encoder.named_children()).get("adapter")
        return hidden if behind is None else behind(hidden)

    def positions(self, encoder: Any) -> int:
        """1499 in 30 s, of 20 ms each."""
        return _positions(round(WINDOW_S * SAMPLE_RATE_HZ))

    def readout(self, model: Any) -> Float[Tensor, "read width"]:
        """The CTC head, without what it adds to all tokens alike: softmax ignores that.

        Raises:
            UnsupportedModelError: The model has no CTC head.
        """
        head = dict(model.named_children()).get("lm_head")
        if head is None:
            raise UnsupportedModelError(
                f"{type(model).__name__} has no CTC head, and nothing else says what reads the "
                f"encoder: open a {model.config.model_type} model fine-tuned for CTC"
            )
        weight: Tensor = head.weight.detach()
        return weight - weight.mean(0)

    def position_parameters(self, encoder: Any) -> int:
        """None: the convolution that makes positions is a part of the encoder."""
        return 0

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """Stretches of at most 30 s, cut where it is quiet; none is padded."""
        return waveform_inputs(processor, waveform, _positions)

    def cropped(self, window: EncoderInput, positions: int) -> EncoderInput:
        """The leading samples."""
        samples = window.tensors["input_values"][:, : (positions - 1) * STEP + FIRST]
        return replace(
            window,
            tensors={"input_values": samples},
            valid_positions=min(window.valid_positions, positions),
        )

    def _block_targets(self, block: int, layer: Any) -> Iterator[Target]:
        attention = f"encoder.layers.{block}.attention"
        shared = Observation(f"{attention}.q_proj", "input")
        for role in ATTENTION:
            name = f"{attention}.{role}"
            observation = None if role == "out_proj" else shared
            yield target(name, "attention", block, getattr(layer.attention, role), observation)
        for role in ("intermediate_dense", "output_dense"):
            name = f"encoder.layers.{block}.feed_forward.{role}"
            yield target(name, "mlp", block, getattr(layer.feed_forward, role))


def _layers(encoder: Any) -> nn.ModuleList:
    layers: nn.ModuleList = encoder.encoder.layers
    return layers


def _norm_is_last(encoder: Any) -> bool:
    """Whether blocks normalize what enters them and the encoder what leaves the last one."""
    return type(encoder.encoder).__name__.endswith("StableLayerNorm")


def _positions(samples: int) -> int:
    return max(0, (samples - FIRST) // STEP + 1)
