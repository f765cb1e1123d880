"""How far half precision and the kernels are from float32, as relative error of what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import liteasr
from liteasr.audio import load_audio
from liteasr.encoders import WhisperAdapter, encode, pack_encoder
from liteasr.errors import LiteASRError
from liteasr.kernels import Backend, low_rank_attention

__all__ = ["parity_on_random", "parity_on_speech"]

FAST: tuple[Backend, ...] = ("sdpa", "triton")
Operands = tuple[Tensor, Tensor, Tensor]


def parity_on_random(
    device: str, dtype: torch.dtype, *, heads: int, positions: int
) -> Iterator[dict[str, Any]]:
    """Attentions of several widths on random numbers."""
    torch.manual_seed(0)
    for query_key, value in ((64, 64), (32, 64), (24, 48), (16, 40)):
        sizes = (query_key, query_key, value)
        made = (torch.randn(1, heads, positions, size, device=device) for size in sizes)
        query, key, value_ = made
        yield from _attention_rows(
            f"random, qk={query_key} v={value}", (query, key, value_), query_key**-0.5, dtype
        )


def parity_on_speech(
    model: str, recording: Path, device: str, dtype: torch.dtype
) -> Iterator[dict[str, Any]]:
    """The attentions of a real encoder, and the whole encoder, on a real recording."""
    speech = liteasr.load_model(model)
    adapter = WhisperAdapter()
    encoder = adapter.encoder(speech.model).to(device)
    window = next(adapter.inputs(speech.processor, load_audio(recording)))
    features = window.tensors["input_features"].to(device)
    with torch.inference_mode():
        exact = encode(encoder, {"input_features": features})
        for name, operands, scaling in _operands(encoder, features):
            yield from _attention_rows(f"{model}, {name}", operands, scaling, dtype)
        speech.model.to(device, dtype)
        for backend in FAST:
            found = _tried(
                lambda b=backend: pack_encoder(speech.model, attention=b)(features.to(dtype))
            )
            yield {"name": f"{model}, whole encoder", "backend": backend} | _error(found, exact)


def _operands(encoder: Any, features: Tensor) -> Iterator[tuple[str, Operands, float]]:
    """Queries, keys and values of every block, by head."""
    hidden = WhisperAdapter().embed(encoder, {"input_features": features})
    for block, layer in enumerate(encoder.layers):
        normed = layer.self_attn_layer_norm(hidden)
        own = layer.self_attn
        query, key, value = (
            projection(normed).unflatten(-1, (own.num_heads, -1)).transpose(1, 2)
            for projection in (own.q_proj, own.k_proj, own.v_proj)
        )
        yield f"attention {block}", (query, key, value), own.scaling
        found = layer(hidden, None)
        hidden = found[0] if isinstance(found, tuple) else found


def _attention_rows(
    name: str, operands: Operands, scaling: float, dtype: torch.dtype
) -> Iterator[dict[str, Any]]:
    with torch.inference_mode():
        exact = low_rank_attention(*operands, scaling=scaling, backend="eager")
        rounded = tuple(t.to(dtype) for t in operands)
        for backend in FAST:
            found = _tried(
                lambda b=backend: low_rank_attention(*rounded, scaling=scaling, backend=b)
            )
            yield {"name": name, "backend": backend} | _error(found, exact)


def _tried(action: Any) -> Tensor | str:
    try:
        made: Tensor = action()
    except LiteASRError as error:
        return str(error)
    return made


def _error(found: Tensor | str, exact: Tensor) -> dict[str, Any]:
    if isinstance(found, str):
        return {"not_run": found}
    return {"relative_error": ((found.float() - exact).norm() / exact.norm()).item()}
