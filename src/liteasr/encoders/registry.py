"""Which adapter serves which model, and what all adapters share."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.encoders.base import EncoderAdapter, EncoderInput
from liteasr.encoders.whisper import WhisperAdapter
from liteasr.errors import UnsupportedModelError

__all__ = [
    "adapter_for",
    "encoder_fingerprint",
    "encoder_parameters",
    "run_encoder",
    "supported_model_types",
]

ADAPTERS: tuple[EncoderAdapter, ...] = (WhisperAdapter(),)


def supported_model_types() -> tuple[str, ...]:
    """Every ``model_type`` that some adapter serves, sorted."""
    return tuple(sorted(name for adapter in ADAPTERS for name in adapter.model_types))


def adapter_for(model: Any) -> EncoderAdapter:
    """The adapter that serves a transformers model.

    Raises:
        UnsupportedModelError: No adapter knows its ``config.model_type``.
    """
    model_type = model.config.model_type
    for adapter in ADAPTERS:
        if model_type in adapter.model_types:
            return adapter
    known = ", ".join(supported_model_types())
    raise UnsupportedModelError(
        f"no encoder adapter for model type {model_type!r}: known are {known}"
    )


def run_encoder(encoder: nn.Module, window: EncoderInput) -> Float[Tensor, "1 seq width"]:
    """Run an encoder on one window, on its own device and in its own dtype, without gradients."""
    parameter = next(encoder.parameters())
    tensors = {
        name: tensor.to(parameter.device, parameter.dtype)
        if tensor.is_floating_point()
        else tensor.to(parameter.device)
        for name, tensor in window.tensors.items()
    }
    with torch.inference_mode():
        output: Tensor = encoder(**tensors).last_hidden_state
    return output


def encoder_parameters(model: Any) -> int:
    """Parameters of the encoder without positions, as the published sizes count them."""
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    return sum(p.numel() for p in encoder.parameters()) - adapter.position_parameters(encoder)


def encoder_fingerprint(model: Any) -> str:
    """SHA-256 over the names, shapes and float32 values of the encoder's parameters.

    The same for the same weights whatever file they came from, so moments can say which
    encoder they belong to.
    """
    digest = hashlib.sha256()
    encoder: nn.Module = adapter_for(model).encoder(model)
    for name, parameter in sorted(encoder.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        values = parameter.detach().to("cpu", torch.float32).contiguous()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
