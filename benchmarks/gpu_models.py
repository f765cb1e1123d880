"""Whisper large-v3 and turbo in their exact shapes, dense and reduced, with random weights.

Speed does not depend on the values of weights; accuracy does, and nothing is said about it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from liteasr.compression import install_
from liteasr.encoders import encoder_parameters
from liteasr.nn import LowRankLinear

__all__ = ["FORMS", "SHAPES", "Shape", "build", "reduce_"]

FORMS = ("dense", "published", "0.7", "0.5", "0.35")

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
# low_rank_config of efficient-speech/lite-whisper-large-v3 (blocks 0-3) and of
# lite-whisper-large-v3-turbo-acc (blocks 0-4): q, k, v, out, fc1, fc2. The other blocks are not at
# hand; they get the last one's ranks times the factor that gives the published size.
PLAIN = (
    (32, 32, 48, 32, 368, 368),
    (64, 64, 128, 112, 272, 352),
    (48, 48, 160, 160, 224, 224),
    (48, 48, 192, 160, 288, 208),
)
TURBO_ACC = (
    (48, 48, 64, 48, 352, 304),
    (96, 80, 192, 192, 240, 256),
    (80, 64, 240, 224, 192, 144),
    (80, 80, 336, 288, 256, 128),
    (96, 96, 368, 224, 272, 192),
)
OWN_HEADS = {0.7: (0.5, 1.0), 0.5: (0.375, 0.75), 0.35: (0.25, 0.625)}  # of a head: qk, v


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A model's sizes, and the published reduction of its encoder.

    Attributes:
        config: Of transformers.
        published: Ranks by block, of the leading blocks.
        published_m: Size of the published encoder in millions of parameters.
    """

    config: dict[str, Any]
    published: tuple[tuple[int, ...], ...]
    published_m: float


LARGE = {
    "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120,
    "decoder_layers": 32, "decoder_attention_heads": 20, "decoder_ffn_dim": 5120,
    "num_mel_bins": 128, "vocab_size": 51866,
}  # fmt: skip
TINY = {
    "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 256,
    "decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 256,
    "num_mel_bins": 80, "vocab_size": 51866, "max_source_positions": 50,
}  # fmt: skip
SHAPES = {
    "large-v3": Shape(config=LARGE, published=PLAIN, published_m=377),
    "turbo": Shape(config={**LARGE, "decoder_layers": 4}, published=TURBO_ACC, published_m=421),
    "tiny": Shape(config=TINY, published=((8, 8, 12, 16, 32, 32),), published_m=0.09),
}


def build(shape: Shape, device: str, dtype: torch.dtype) -> Any:
    """The whole model, random, dense."""
    with torch.device(device):
        model = WhisperForConditionalGeneration(WhisperConfig(**shape.config)).to(dtype)
    model.generation_config = GenerationConfig(bos_token_id=1, pad_token_id=2)
    return model.eval()


def reduce_(model: Any, shape: Shape, form: str) -> None:
    """Give a dense model's encoder the shapes of a reduction: ``published``, or a share kept."""
    if form == "published":
        target, layers = shape.published_m * 1e6, _published
    else:
        target, layers = float(form) * encoder_parameters(model), _own
    # the size is linear in the factor up to rounding: bisect on what would be installed
    low, high = 0.0, 8.0
    for _ in range(10):
        middle = (low + high) / 2
        made = layers(model, shape, form, middle)
        low, high = (middle, high) if _size_with(model, made) < target else (low, middle)
    like = next(model.parameters())
    made = layers(model, shape, form, low)
    for module in made.values():
        module.to_empty(device=like.device).to(like.dtype)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.02)
    install_(model, made)


def _published(model: Any, shape: Shape, form: str, factor: float) -> dict[str, nn.Module]:
    """Chains everywhere: known ranks in the leading blocks, scaled ones in the others."""
    made: dict[str, nn.Module] = {}
    for block, layer in enumerate(model.get_encoder().layers):
        known = shape.published[min(block, len(shape.published) - 1)]
        scale = 1.0 if block < len(shape.published) else factor
        for role, rank in zip((*ATTENTION, "fc1", "fc2"), known, strict=True):
            path = f"self_attn.{role}" if role in ATTENTION else role
            old = layer.get_submodule(path)
            _add_chain(made, f"layers.{block}.{path}", old, _in_sixteens(scale * rank))
    return made


def _own(model: Any, shape: Shape, form: str, factor: float) -> dict[str, nn.Module]:
    """Narrower heads, and chains in the MLP that use what is left of the budget."""
    made: dict[str, nn.Module] = {}
    heads, width = shape.config["encoder_attention_heads"], shape.config["d_model"]
    query_key, value = (int(share * width / heads) for share in OWN_HEADS[float(form)])
    for block, layer in enumerate(model.get_encoder().layers):
        name = f"layers.{block}.self_attn"
        for role, per_head in (("q_proj", query_key), ("k_proj", query_key), ("v_proj", value)):
            made[f"{name}.{role}"] = nn.Linear(width, heads * per_head, device="meta")
        made[f"{name}.out_proj"] = nn.Linear(heads * value, width, device="meta")
        for role in ("fc1", "fc2"):
            _add_chain(made, f"layers.{block}.{role}", layer.get_submodule(role),
                       _in_sixteens(factor * width / 4))  # fmt: skip
    return made


def _add_chain(made: dict[str, nn.Module], name: str, old: nn.Linear, rank: int) -> None:
    """A chain, where it is smaller than the layer."""
    if rank * (old.in_features + old.out_features) < old.in_features * old.out_features:
        made[name] = LowRankLinear(old.in_features, old.out_features, rank, device="meta")


def _in_sixteens(rank: float) -> int:
    return max(16, round(rank / 16) * 16)


def _size_with(model: Any, made: dict[str, nn.Module]) -> int:
    encoder = model.get_encoder()
    old = (encoder.get_submodule(name) for name in made)
    return encoder_parameters(model) + _size(made.values()) - _size(old)


def _size(modules: Iterable[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
