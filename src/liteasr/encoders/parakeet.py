"""Parakeet and every FastConformer with a CTC head: feed-forward pairs around attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.audio import SAMPLE_RATE_HZ, stretches
from liteasr.encoders.base import AttentionSite, EncoderInput, Group, MlpSite, Observation, Target
from liteasr.encoders.targets import narrowed, target

__all__ = ["ParakeetAdapter"]

WINDOW_S = 30.0
FRAMES_PER_SECOND = 100
HALVINGS = 3  # of the frames, by convolutions of stride 2, each rounding up
LAYERS: tuple[tuple[str, Group], ...] = (
    *(("feed_forward1.linear1", "mlp"), ("feed_forward1.linear2", "mlp")),
    *(("self_attn.q_proj", "attention"), ("self_attn.k_proj", "attention")),
    *(("self_attn.v_proj", "attention"), ("self_attn.o_proj", "attention")),
    *(("conv.pointwise_conv1", "mlp"), ("conv.pointwise_conv2", "mlp")),
    *(("feed_forward2.linear1", "mlp"), ("feed_forward2.linear2", "mlp")),
)


class ParakeetAdapter:
    """Knows the encoder of Parakeet CTC: ten layers a block, two of them 1x1 convolutions.

    Scores hold queries against positions too, so no attention is reduced by head. The layer that
    maps positions (``relative_k_proj``) sees no audio and stays as it is.
    """

    model_types = frozenset({"parakeet_ctc", "parakeet_encoder"})

    def prepare_(self, model: Any) -> None:
        """Nothing: every layer is called."""

    def encoder(self, model: Any) -> nn.Module:
        """All but the CTC head."""
        encoder: nn.Module = model.encoder
        return encoder

    def targets(self, encoder: Any) -> tuple[Target, ...]:
        """Both feed-forward pairs, q, k, v, o and both pointwise convolutions of every block."""
        found = []
        for block in range(len(encoder.layers)):
            shared = Observation(f"layers.{block}.self_attn.q_proj", "input")
            for role, group in LAYERS:
                name = f"layers.{block}.{role}"
                observation = shared if role.endswith(("q_proj", "k_proj", "v_proj")) else None
                module = encoder.get_submodule(name)
                found.append(target(name, group, block, module, observation))
        return tuple(found)

    def convolutions(self, encoder: nn.Module) -> tuple[Target, ...]:
        """None."""
        return ()

    def attentions(self, encoder: nn.Module) -> tuple[AttentionSite, ...]:
        """None."""
        return ()

    def mlps(self, encoder: Any) -> tuple[MlpSite, ...]:
        """Both feed-forward pairs of every block; the convolutions have another between them."""
        return tuple(
            MlpSite(
                first=f"{name}.{pair}.linear1",
                activation=f"{name}.{pair}.activation",
                second=f"{name}.{pair}.linear2",
                units=encoder.config.intermediate_size,
            )
            for name in self.blocks(encoder)
            for pair in ("feed_forward1", "feed_forward2")
        )

    def narrowed(self, encoder: nn.Module, site: AttentionSite) -> nn.Module:
        """Never asked for, since there are no sites."""
        return narrowed(encoder, site)

    def window_s(self, processor: Any) -> float:
        """30 s; shorter windows are not padded."""
        return WINDOW_S

    def full_window(self, encoder: Any) -> dict[str, Tensor]:
        """Log-Mel features of 30 s."""
        frames = round(WINDOW_S * FRAMES_PER_SECOND)
        bands = encoder.config.num_mel_bins
        return {"input_features": torch.empty(1, frames, bands, device="meta")}

    def blocks(self, encoder: Any) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"layers.{block}" for block in range(len(encoder.layers)))

    def embed(
        self, encoder: Any, tensors: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch seq width"]:
        """The convolutions that make one position of eight frames."""
        hidden: Tensor = encoder.subsampling(tensors["input_features"]) * encoder.input_scale
        return hidden

    def run_from(
        self, encoder: Any, block: int, hidden: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch seq width"]:
        """The layers from there on, with relative positions for as many."""
        places = encoder.encode_positions(hidden)
        for layer in encoder.layers[block:]:
            hidden = layer(hidden, position_embeddings=places)
        return hidden

    def positions(self, encoder: nn.Module) -> int:
        """375 in 30 s, of 80 ms each."""
        return _positions(round(WINDOW_S * FRAMES_PER_SECOND))

    def readout(self, model: Any) -> Float[Tensor, "read width"]:
        """The CTC head, without what it adds to all tokens alike: softmax ignores that."""
        weight: Tensor = model.ctc_head.weight.detach()[..., 0]
        return weight - weight.mean(0)

    def position_parameters(self, encoder: nn.Module) -> int:
        """None: the table of positions is computed."""
        return 0

    def inputs(
        self, processor: Any, waveform: Float[np.ndarray, "samples"]
    ) -> Iterator[EncoderInput]:
        """Stretches of at most 30 s, cut where it is quiet; none is padded.

        The extractor's last frame, which it masks, is left out: the mask would do the same.
        """
        for window in stretches(waveform, WINDOW_S):
            extracted = processor.feature_extractor(
                window, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt"
            )
            frames = int(extracted["attention_mask"].sum())
            yield EncoderInput(
                tensors={"input_features": extracted["input_features"][:, :frames]},
                valid_positions=_positions(frames),
                duration_s=len(window) / SAMPLE_RATE_HZ,
            )

    def cropped(self, window: EncoderInput, positions: int) -> EncoderInput:
        """The leading frames."""
        features = window.tensors["input_features"][:, : positions * 2**HALVINGS]
        return replace(
            window,
            tensors={"input_features": features},
            valid_positions=min(window.valid_positions, positions),
        )


def _positions(frames: int) -> int:
    for _ in range(HALVINGS):
        frames = -(-frames // 2)
    return frames
