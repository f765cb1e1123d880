"""Whisper, its fine-tunes, and encoders of its kind inside other models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from liteasr.audio import SAMPLE_RATE_HZ, log_mel, windows
from liteasr.encoders.base import AttentionSite, EncoderInput, MlpSite, Observation, Target
from liteasr.encoders.targets import cross_attention_readout, narrowed, target
from liteasr.nn import LowRankSelfAttention

__all__ = ["QWEN2_AUDIO", "VOXTRAL", "WhisperAdapter"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
FRAMES_PER_POSITION = 2  # the second convolution has stride 2


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class WhisperAdapter:
    """Knows the encoder of Whisper: six linear layers a block, sinusoidal positions.

    Attributes:
        model_types: The ``config.model_type`` values of models and encoders.
        tower: Where the encoder lies; None where the model has a decoder of Whisper.
        reader: The layer that reads the output, position by position or several at once; None
            where a decoder does.
        pooled: Whether pairs of positions are averaged before the last norm.
        masked: Whether the model masks padding, so that windows hold audio alone.
    """

    model_types: frozenset[str] = frozenset({"whisper"})
    tower: str | None = None
    reader: str | None = None
    pooled: bool = False
    masked: bool = False

    def prepare_(self, model: Any) -> None:
        """Nothing: every layer is called."""

    def encoder(self, model: Any) -> nn.Module:
        """The encoder inside a recognizer."""
        found = model.get_encoder() if self.tower is None else model.get_submodule(self.tower)
        encoder: nn.Module = found
        return encoder

    def targets(self, encoder: nn.Module) -> tuple[Target, ...]:
        """q, k, v, out, fc1 and fc2 of every block."""
        return tuple(
            found
            for block, layer in enumerate(encoder.layers)  # type: ignore[arg-type]
            for found in self._block_targets(block, layer)
        )

    def convolutions(self, encoder: nn.Module) -> tuple[Target, ...]:
        """The second one, which has 8 times the weights of the first or more."""
        if not isinstance(encoder.conv2, nn.Conv1d):
            return ()  # it is a chain already
        return (target("conv2", "convolution", 0, encoder.conv2, Observation("conv2", "output")),)

    def attentions(self, encoder: nn.Module) -> tuple[AttentionSite, ...]:
        """Every self-attention: positions are added to the input, not rotated in."""
        sites = []
        for block, layer in enumerate(encoder.layers):  # type: ignore[arg-type]
            attention, name = layer.self_attn, f"layers.{block}.self_attn"
            if isinstance(attention, LowRankSelfAttention):
                continue  # its heads are narrower already
            sites.append(
                AttentionSite(
                    name=name,
                    heads=attention.num_heads,
                    head_dim=attention.head_dim,
                    scaling=attention.scaling,
                    query=f"{name}.q_proj",
                    key=f"{name}.k_proj",
                    value=f"{name}.v_proj",
                    output=f"{name}.out_proj",
                )
            )
        return tuple(sites)

    def mlps(self, encoder: Any) -> tuple[MlpSite, ...]:
        """fc1 and fc2 of every block."""
        return tuple(
            MlpSite(
                first=f"{name}.fc1",
                activation=f"{name}.activation_fn",
                second=f"{name}.fc2",
                units=encoder.config.encoder_ffn_dim,
                ends_block=True,
            )
            for name in self.blocks(encoder)
        )

    def narrowed(self, encoder: nn.Module, site: AttentionSite) -> nn.Module:
        """An attention on the same layers."""
        return narrowed(encoder, site)

    def window_s(self, processor: Any) -> float:
        """30 s."""
        return float(processor.feature_extractor.chunk_length)

    def full_window(self, encoder: nn.Module) -> dict[str, Tensor]:
        """Log-Mel features of 30 s."""
        bands, frames = encoder.conv1.in_channels, FRAMES_PER_POSITION * self.positions(encoder)  # type: ignore[union-attr]
        return {"input_features": torch.empty(1, bands, frames, device="meta")}  # type: ignore[arg-type]

    def blocks(self, encoder: nn.Module) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"layers.{block}" for block in range(len(encoder.layers)))  # type: ignore[arg-type]

    def embed(
        self, encoder: nn.Module, tensors: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch seq width"]:
        """Two convolutions and the positions, of which there may be less than 1500."""
        features = tensors["input_features"]
        for convolution in (encoder.conv1, encoder.conv2):
            features = functional.gelu(convolution(features))  # type: ignore[operator]
        hidden = features.transpose(1, 2)
        positions: Tensor = encoder.embed_positions.weight[: hidden.shape[1]]  # type: ignore[union-attr, index]
        return hidden + positions

    def run_from(
        self, encoder: nn.Module, block: int, hidden: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch seq width"]:
        """The layers from there on, and the last norm, with a pool before it where there is one."""
        for layer in encoder.layers[block:]:  # type: ignore[index]
            found = layer(hidden, None)
            hidden = found[0] if isinstance(found, tuple) else found  # before transformers 5.2
        if self.pooled:
            hidden = encoder.avg_pooler(hidden.transpose(1, 2)).transpose(1, 2)  # type: ignore[operator]
        output: Tensor = encoder.layer_norm(hidden)  # type: ignore[operator]
        return output

    def positions(self, encoder: nn.Module) -> int:
        """1500, of 20 ms each."""
        return int(encoder.embed_positions.num_embeddings)  # type: ignore[union-attr, arg-type]

    def readout(self, model: Any) -> Float[Tensor, "read width"]:
        """Keys and values of the decoder's cross-attentions, or the layer that reads the output."""
        if self.reader is not None:
            weight: Tensor = model.get_submodule(self.reader).weight.detach()
            return weight.reshape(-1, self.encoder(model).layer_norm.weight.numel())  # type: ignore[union-attr, operator]
        return cross_attention_readout(model)

    def position_parameters(self, encoder: nn.Module) -> int:
        """The sinusoidal table."""
        return int(encoder.embed_positions.weight.numel())  # type: ignore[union-attr, operator]

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """Windows of 30 s; the last one is padded, unless the model masks padding."""
        for window in windows(waveform, processor.feature_extractor):
            mel = log_mel(window, processor.feature_extractor)
            valid = -(-mel.valid_frames // FRAMES_PER_POSITION)
            made = EncoderInput(
                tensors={"input_features": mel.features.unsqueeze(0)},
                valid_positions=valid,
                duration_s=len(window) / SAMPLE_RATE_HZ,
            )
            # two positions make one where they are pooled
            yield self.cropped(made, valid + valid % 2) if self.masked else made

    def cropped(self, window: EncoderInput, positions: int) -> EncoderInput:
        """The leading frames; transformers' own ``forward`` takes full windows only."""
        features = window.tensors["input_features"][..., : positions * FRAMES_PER_POSITION]
        return replace(
            window,
            tensors={"input_features": features},
            valid_positions=min(window.valid_positions, positions),
        )

    def _block_targets(self, block: int, layer: Any) -> Iterator[Target]:
        attention = f"layers.{block}.self_attn"
        shared = Observation(f"{attention}.q_proj", "input")
        for role in ATTENTION:
            name = f"{attention}.{role}"
            observation = Observation(name, "input") if role == "out_proj" else shared
            yield target(name, "attention", block, getattr(layer.self_attn, role), observation)
        # x is narrower than y in fc1 and wider in fc2: take the smaller set of moments
        fc1, fc2 = f"layers.{block}.fc1", f"layers.{block}.fc2"
        yield target(fc1, "mlp", block, layer.fc1, Observation(fc1, "input"))
        yield target(fc2, "mlp", block, layer.fc2, Observation(fc2, "output"))


QWEN2_AUDIO = WhisperAdapter(
    model_types=frozenset({"qwen2_audio", "qwen2_audio_encoder"}),
    tower="model.audio_tower",
    reader="model.multi_modal_projector.linear",
    pooled=True,
    masked=True,
)
VOXTRAL = WhisperAdapter(
    model_types=frozenset({"voxtral", "voxtral_encoder"}),
    tower="model.audio_tower",
    reader="model.multi_modal_projector.linear_1",
)
