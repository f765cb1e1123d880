"""Which adapter serves which model, and what all adapters share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.encoders.base import AttentionSite, EncoderAdapter, EncoderInput
from liteasr.encoders.generic import CONFIG_KEY, MARK, GenericAdapter
from liteasr.encoders.moonshine import MoonshineAdapter
from liteasr.encoders.parakeet import ParakeetAdapter
from liteasr.encoders.wav2vec2 import Wav2Vec2Adapter
from liteasr.encoders.whisper import QWEN2_AUDIO, VOXTRAL, WhisperAdapter
from liteasr.errors import PlanError, UnsupportedModelError
from liteasr.lowrank import Affine, AttentionWeights
from liteasr.nn import (
    GatedSelfAttention,
    LowRankConv1d,
    LowRankLinear,
    LowRankSelfAttention,
    RotarySelfAttention,
    affine_of,
    pivots_of,
    sizes_of,
)

__all__ = [
    "adapter_for",
    "adopt_encoder_",
    "affine_at",
    "attention_weights",
    "audio_positions",
    "encode",
    "encoder_fingerprint",
    "encoder_parameters",
    "entering_positions",
    "on_encoder",
    "pooled_from",
    "prepare_",
    "readout_metric",
    "require_dense",
    "run_encoder",
    "supported_model_types",
]

MARKED = "pooled_from"

ADAPTERS: tuple[EncoderAdapter, ...] = (
    WhisperAdapter(),
    QWEN2_AUDIO,
    VOXTRAL,
    MoonshineAdapter(),
    Wav2Vec2Adapter(),
    ParakeetAdapter(),
)
REDUCED = (LowRankLinear, LowRankConv1d, LowRankSelfAttention, RotarySelfAttention)


def supported_model_types() -> tuple[str, ...]:
    """Every ``model_type`` of a whole model that some adapter serves, sorted."""
    names = (name for adapter in ADAPTERS for name in adapter.model_types)
    return tuple(sorted(name for name in names if not name.endswith("_encoder")))


def adapter_for(model: Any) -> EncoderAdapter:
    """The adapter that serves a transformers model or its encoder.

    One that `use_encoder_` chose comes first, then the one that knows ``config.model_type``.

    Raises:
        UnsupportedModelError: No adapter knows its ``config.model_type``.
    """
    chosen: EncoderAdapter | None = vars(model).get(MARK)
    if chosen is not None:
        return chosen
    if (values := vars(model.config).get(CONFIG_KEY)) is not None:
        return GenericAdapter.of(values)
    model_type = model.config.model_type
    for adapter in ADAPTERS:
        if model_type in adapter.model_types:
            return adapter
    known = ", ".join(supported_model_types())
    raise UnsupportedModelError(
        f"no encoder adapter for model type {model_type!r}: known are {known}; name the encoder "
        "of another one (--encoder, or liteasr.encoders.use_encoder_)"
    )


def prepare_(model: Any) -> None:
    """Make every target a module that the encoder calls, where an adapter knows the model.

    transformers' WavLM, for one, reads the weights of its layers past their ``forward``. What the
    model computes does not change, nor do the names of its parameters. `load_model` has done it.
    """
    chosen = CONFIG_KEY in vars(model.config)
    if chosen or model.config.model_type in supported_model_types():
        adapter_for(model).prepare_(model)


def adopt_encoder_(model: Any, other: Any) -> None:
    """Choose the same encoder as in another model, where `use_encoder_` chose one there."""
    values = vars(other.config).get(CONFIG_KEY)
    if values is not None and CONFIG_KEY not in vars(model.config):
        setattr(model.config, CONFIG_KEY, values)
        prepare_(model)


def encode(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> Float[Tensor, "batch seq width"]:
    """The encoder's output for one batch, which may be cropped to fewer positions.

    Raises:
        UnsupportedModelError: No adapter knows the encoder.
    """
    adapter = adapter_for(encoder)
    return adapter.run_from(encoder, 0, adapter.embed(encoder, tensors))


def on_encoder(encoder: nn.Module, window: EncoderInput) -> dict[str, Tensor]:
    """The tensors of a window on an encoder's own device and in its own dtype."""
    parameter = next(encoder.parameters())
    return {
        name: tensor.to(parameter.device, parameter.dtype)
        if tensor.is_floating_point()
        else tensor.to(parameter.device)
        for name, tensor in window.tensors.items()
    }


def run_encoder(encoder: nn.Module, window: EncoderInput) -> Float[Tensor, "1 seq width"]:
    """Run an encoder on one window, on its own device and in its own dtype, without gradients."""
    with torch.inference_mode():
        return encode(encoder, on_encoder(encoder, window))


def affine_at(encoder: nn.Module, name: str) -> Affine:
    """A dense layer of the encoder as tensors; a bias that is missing is zero."""
    weight, bias = affine_of(encoder.get_submodule(name))
    return Affine(weight, weight.new_zeros(weight.shape[0]) if bias is None else bias)


def attention_weights(encoder: nn.Module, site: AttentionSite) -> AttentionWeights:
    """The four layers of an attention as tensors."""
    return AttentionWeights(
        heads=site.heads,
        query=affine_at(encoder, site.query),
        key=affine_at(encoder, site.key),
        value=affine_at(encoder, site.value),
        output=affine_at(encoder, site.output),
    )


def readout_metric(model: Any) -> Float[Tensor, "width width"]:
    """M with ‖M e‖² = ‖R e‖² / mean diag RᵀR for an error e of the encoder's output, float32.

    R stacks every matrix that reads the output (the adapter's ``readout``): an error that no
    matrix reads costs nothing.
    """
    readout = adapter_for(model).readout(model).to(torch.float64)
    gram = readout.T @ readout
    values, basis = torch.linalg.eigh(gram / gram.diagonal().mean())
    metric: Tensor = (basis * values.clamp_min(0.0).sqrt()).T
    return metric.to(torch.float32).contiguous()


def require_dense(model: Any, name: str) -> None:
    """Check that no layer of the encoder is reduced yet.

    Raises:
        PlanError: One is.
        UnsupportedModelError: No adapter knows the model.
    """
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    for place, module in encoder.named_modules():
        narrow = isinstance(module, GatedSelfAttention) and module.is_reduced
        if narrow or isinstance(module, REDUCED) or pivots_of(module):
            raise PlanError(
                f"{name} is compressed already ({place} is a {type(module).__name__}): "
                "name the original model instead"
            )
    for site in adapter.mlps(encoder):
        if (units := sizes_of(encoder.get_submodule(site.first))[1]) != site.units:
            raise PlanError(
                f"{name} is compressed already ({site.first} has {units} of {site.units} units): "
                "name the original model instead"
            )


def encoder_parameters(model: Any) -> int:
    """Parameters of the encoder without positions, as the published sizes count them."""
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    return sum(p.numel() for p in encoder.parameters()) - adapter.position_parameters(encoder)


def pooled_from(encoder: nn.Module) -> int | None:
    """The block from which on pairs of positions are one; None where none is."""
    found: int | None = getattr(encoder, MARKED, None)
    return found


def entering_positions(adapter: EncoderAdapter, encoder: nn.Module) -> int | None:
    """Positions that enter an encoder which pools them later; None for one that never does."""
    return None if pooled_from(encoder) is None else adapter.positions(encoder)


def audio_positions(valid: int, seen: int, entering: int | None) -> int:
    """Leading positions that hold audio at a place where positions may be pooled already.

    Args:
        valid: Of those that enter the encoder.
        seen: Positions at that place.
        entering: What `entering_positions` gave.
    """
    return valid if entering is None else -(-valid * seen // entering)


def encoder_fingerprint(model: Any, *, pool_from: int | None = None) -> str:
    """SHA-256 over the names, shapes and float32 values of the encoder's parameters.

    The same for the same weights whatever file they came from, so moments can say which
    encoder they belong to. One that pools positions is another encoder.

    Args:
        model: The recognizer.
        pool_from: As if positions were pooled from that block on.
    """
    digest = hashlib.sha256()
    encoder: nn.Module = adapter_for(model).encoder(model)
    block = pooled_from(encoder) if pool_from is None else pool_from
    if block is not None:
        digest.update(f"{MARKED}={block}".encode())
    for name, parameter in sorted(encoder.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        values = parameter.detach().to("cpu", torch.float32).contiguous()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
