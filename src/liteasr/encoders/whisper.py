"""Whisper, Distil-Whisper and every fine-tune of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from liteasr.audio import SAMPLE_RATE_HZ, log_mel, windows
from liteasr.encoders.base import EncoderInput, Group, Observation, Target

__all__ = ["WhisperAdapter"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
FRAMES_PER_POSITION = 2  # the second convolution has stride 2


class WhisperAdapter:
    """Knows the encoder of Whisper: six linear layers a block, sinusoidal positions."""

    model_types = frozenset({"whisper"})

    def encoder(self, model: Any) -> nn.Module:
        """The encoder inside a recognizer."""
        encoder: nn.Module = model.get_encoder()
        return encoder

    def targets(self, encoder: nn.Module) -> tuple[Target, ...]:
        """q, k, v, out, fc1 and fc2 of every block."""
        return tuple(
            target
            for block, layer in enumerate(encoder.layers)  # type: ignore[arg-type]
            for target in self._block_targets(block, layer)
        )

    def position_parameters(self, encoder: nn.Module) -> int:
        """The sinusoidal table."""
        return int(encoder.embed_positions.weight.numel())  # type: ignore[union-attr, operator]

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """Windows of 30 s; the last one is padded."""
        for window in windows(waveform, processor.feature_extractor):
            mel = log_mel(window, processor.feature_extractor)
            yield EncoderInput(
                tensors={"input_features": mel.features.unsqueeze(0)},
                valid_positions=-(-mel.valid_frames // FRAMES_PER_POSITION),
                duration_s=len(window) / SAMPLE_RATE_HZ,
            )

    def _block_targets(self, block: int, layer: Any) -> Iterator[Target]:
        attention = f"layers.{block}.self_attn"
        shared = Observation(f"{attention}.q_proj", "input")
        for role in ATTENTION:
            name = f"{attention}.{role}"
            observation = Observation(name, "input") if role == "out_proj" else shared
            yield _target(name, "attention", block, getattr(layer.self_attn, role), observation)
        # x is narrower than y in fc1 and wider in fc2: take the smaller set of moments
        fc1, fc2 = f"layers.{block}.fc1", f"layers.{block}.fc2"
        yield _target(fc1, "mlp", block, layer.fc1, Observation(fc1, "input"))
        yield _target(fc2, "mlp", block, layer.fc2, Observation(fc2, "output"))


def _target(name: str, group: Group, block: int, linear: Any, observation: Observation) -> Target:
    return Target(
        name=name,
        group=group,
        block=block,
        in_features=linear.in_features,
        out_features=linear.out_features,
        observation=observation,
    )
