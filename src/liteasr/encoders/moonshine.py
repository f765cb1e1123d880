"""Moonshine: a convolved waveform, rotary positions, any length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders.base import AttentionSite, EncoderInput, MlpSite, Observation, Target
from liteasr.encoders.targets import cross_attention_readout, target
from liteasr.encoders.waveforms import WINDOW_S, full_waveform, waveform_inputs
from liteasr.nn import RotarySelfAttention

__all__ = ["MoonshineAdapter"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
CONVOLUTIONS = ((127, 64), (7, 3), (3, 2))  # kernel and stride


class MoonshineAdapter:
    """Knows the encoder of Moonshine: six linear layers a block.

    Positions are rotated into queries and keys, which are therefore reduced as chains alone;
    values and output may be reduced by head.
    """

    model_types = frozenset({"moonshine"})

    def prepare_(self, model: Any) -> None:
        """Nothing: every layer is called."""

    def encoder(self, model: Any) -> nn.Module:
        """The encoder inside a recognizer."""
        encoder: nn.Module = model.get_encoder()
        return encoder

    def targets(self, encoder: Any) -> tuple[Target, ...]:
        """q, k, v, o, fc1 and fc2 of every block."""
        return tuple(
            found
            for block, layer in enumerate(encoder.layers)
            for found in self._block_targets(block, layer)
        )

    def convolutions(self, encoder: nn.Module) -> tuple[Target, ...]:
        """None."""
        return ()

    def attentions(self, encoder: Any) -> tuple[AttentionSite, ...]:
        """Every self-attention, for its values; none where heads share keys and values."""
        config = encoder.config
        heads = config.encoder_num_attention_heads
        if config.encoder_num_key_value_heads != heads:
            return ()
        sites = []
        for block, layer in enumerate(encoder.layers):
            attention, name = layer.self_attn, f"layers.{block}.self_attn"
            if isinstance(attention, RotarySelfAttention):
                continue  # its values are narrower already
            sites.append(
                AttentionSite(
                    name=name,
                    heads=heads,
                    head_dim=attention.head_dim,
                    scaling=attention.scaling,
                    query=f"{name}.q_proj",
                    key=f"{name}.k_proj",
                    value=f"{name}.v_proj",
                    output=f"{name}.o_proj",
                    rotary=True,
                )
            )
        return tuple(sites)

    def mlps(self, encoder: Any) -> tuple[MlpSite, ...]:
        """The one of every block; gates are in the decoder alone."""
        return tuple(
            MlpSite(
                first=f"{name}.mlp.fc1",
                activation=f"{name}.mlp.activation_fn",
                second=f"{name}.mlp.fc2",
                units=encoder.config.intermediate_size,
                ends_block=True,
            )
            for name in self.blocks(encoder)
        )

    def narrowed(self, encoder: nn.Module, site: AttentionSite) -> nn.Module:
        """Rotary attention on the same layers, with values of another width."""
        query, key, value, output = (
            encoder.get_submodule(name) for name in (site.query, site.key, site.value, site.output)
        )
        return RotarySelfAttention(
            q_proj=query,
            k_proj=key,
            v_proj=value,
            o_proj=output,
            heads=site.heads,
            scaling=site.scaling,
        )

    def window_s(self, processor: Any) -> float:
        """30 s; shorter windows are not padded."""
        return WINDOW_S

    def full_window(self, encoder: nn.Module) -> dict[str, Tensor]:
        """30 s of samples."""
        return full_waveform()

    def blocks(self, encoder: Any) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"layers.{block}" for block in range(len(encoder.layers)))

    def embed(
        self, encoder: Any, tensors: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch seq width"]:
        """Three convolutions and a norm."""
        hidden = torch.tanh(encoder.conv1(tensors["input_values"].unsqueeze(1)))
        hidden = functional.gelu(encoder.conv2(encoder.groupnorm(hidden)))
        return functional.gelu(encoder.conv3(hidden)).permute(0, 2, 1)

    def run_from(
        self, encoder: Any, block: int, hidden: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch seq width"]:
        """The layers from there on, with rotations for as many positions, and the last norm."""
        places = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
        turns = encoder.rotary_emb(hidden, position_ids=places)
        for layer in encoder.layers[block:]:
            found = layer(hidden, position_ids=places, position_embeddings=turns)
            hidden = found[0] if isinstance(found, tuple) else found
        output: Tensor = encoder.layer_norm(hidden)
        return output

    def positions(self, encoder: nn.Module) -> int:
        """1248 in 30 s, of 24 ms each."""
        return _positions(round(WINDOW_S * SAMPLE_RATE_HZ))

    def readout(self, model: Any) -> Float[Tensor, "read width"]:
        """Keys and values of the decoder's cross-attentions."""
        return cross_attention_readout(model)

    def position_parameters(self, encoder: nn.Module) -> int:
        """None: rotations are computed."""
        return 0

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """Stretches of at most 30 s, cut where it is quiet; none is padded."""
        return waveform_inputs(processor, waveform, _positions)

    def cropped(self, window: EncoderInput, positions: int) -> EncoderInput:
        """The leading samples."""
        samples = positions
        for kernel, stride in reversed(CONVOLUTIONS):
            samples = (samples - 1) * stride + kernel
        return replace(
            window,
            tensors={"input_values": window.tensors["input_values"][:, :samples]},
            valid_positions=min(window.valid_positions, positions),
        )

    def _block_targets(self, block: int, layer: Any) -> Iterator[Target]:
        attention = f"layers.{block}.self_attn"
        shared = Observation(f"{attention}.q_proj", "input")
        for role in ATTENTION:
            name = f"{attention}.{role}"
            observation = None if role == "o_proj" else shared
            yield target(name, "attention", block, getattr(layer.self_attn, role), observation)
        for role in ("fc1", "fc2"):
            yield target(f"layers.{block}.mlp.{role}", "mlp", block, getattr(layer.mlp, role))


def _positions(samples: int) -> int:
    for kernel, stride in CONVOLUTIONS:
        samples = (samples - kernel) // stride + 1
    return max(0, samples)
