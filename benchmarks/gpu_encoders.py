"""Whole encoders in every way to run them, and decodings behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from gpu_measure import Bench, bytes_of, flops_of
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from liteasr.encoders import encoder_parameters, pack_encoder
from liteasr.kernels import Backend
from liteasr.runtime.cuda_graph import CudaGraph

__all__ = ["measure_encoder"]

Encode = Callable[[], Tensor]
ATTENTIONS: tuple[Backend, ...] = ("sdpa", "triton")


def measure_encoder(
    bench: Bench,
    recognizer: Any,
    batch: int,
    *,
    compiled: bool,
    without: Sequence[str],
    tokens: int,
    **facts: str,
) -> None:
    """Rows of one encoder at one batch size; ``speedup`` is over the fastest dense transformers.

    Ways whose names hold a part in ``without`` are left out, and decodings with 0 ``tokens``.
    """
    frames = 2 * recognizer.config.max_source_positions
    shape = (batch, recognizer.config.num_mel_bins, frames)
    x = torch.randn(shape, device=bench.device).to(bench.dtype)
    eager = pack_encoder(recognizer, attention="eager")
    flops, moved = flops_of(eager, *shape), bytes_of(*eager.parameters(), x)
    rest = {"batch": batch, "encoder_m": encoder_parameters(recognizer) / 1e6, **facts}
    ways = _ways(recognizer, x, compiled=compiled)
    ways = {name: way for name, way in ways.items() if not any(part in name for part in without)}
    for name, encode in ways.items():
        bench.time("encoder", name, encode, flops=flops, moved=moved, **rest)
        torch.compiler.reset()
    best = _fastest(bench, "encoder", rest)
    for name in dict.fromkeys(("transformers", best)) if tokens else ():
        decode = _decoding(recognizer, ways[name], tokens)
        label = f"{name}, {tokens} tokens"
        bench.time("end to end", label, decode, **rest)
    _compare(bench)


def _ways(model: Any, x: Tensor, *, compiled: bool) -> dict[str, Encode]:
    """Names of ways to encode x."""
    encoder = model.get_encoder()

    def theirs(features: Tensor) -> Tensor:
        states: Tensor = encoder(features).last_hidden_state
        return states

    ways: dict[str, Encode] = {
        "transformers": lambda: theirs(x),
        "transformers, graph": _recorded(theirs, x),
    }
    if compiled:
        fast = torch.compile(theirs, mode="reduce-overhead", dynamic=False)
        ways["transformers, compiled"] = lambda: fast(x)
    for attention in ATTENTIONS:
        packed = pack_encoder(model, attention=attention)
        name = f"packed, {attention}"
        ways[name] = lambda packed=packed: packed(x)  # type: ignore[misc]
        ways[f"{name}, graph"] = _recorded(packed, x)
        if compiled:
            made = torch.compile(packed, mode="reduce-overhead", dynamic=False, fullgraph=True)
            ways[f"{name}, compiled"] = lambda made=made: made(x)  # type: ignore[misc]
    return ways


def _recorded(function: Callable[[Tensor], Tensor], x: Tensor) -> Encode:
    """Recorded at the first call."""
    graph = cache(lambda: CudaGraph(function, x))
    return lambda: graph()(x)


def _decoding(model: Any, encode: Encode, tokens: int) -> Encode:
    """Encode, and decode so many tokens greedily with transformers."""
    config = GenerationConfig(
        max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, use_cache=True,
        pad_token_id=0, eos_token_id=None,
    )  # fmt: skip

    def decode() -> Tensor:
        states = encode()
        start = torch.full((len(states), 1), 1, device=states.device)
        ids: Tensor = GenerationMixin.generate(
            model,
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            decoder_input_ids=start,
            generation_config=config,
        )
        return ids

    return decode


def _fastest(bench: Bench, section: str, facts: dict[str, Any]) -> str:
    """The name of the fastest row with these facts."""
    facts = {"section": section, **facts}
    rows = [row for row in bench.rows if facts.items() <= row.items() and "ms" in row]
    return str(min(rows, key=lambda row: row["ms"])["name"])


def _compare(bench: Bench) -> None:
    """Add the speed-up over dense transformers in its fastest way, the same model and batch."""
    keys = ("section", "model", "batch")
    dense: dict[tuple[Any, ...], float] = {}
    for row in bench.rows:
        if row.get("form") == "dense" and row["name"].startswith("transformers") and "ms" in row:
            key = tuple(row[k] for k in keys)
            dense[key] = min(row["ms"], dense.get(key, row["ms"]))
    for row in bench.rows:
        base = dense.get(tuple(row.get(k) for k in keys))
        if base is not None and "ms" in row:
            row["speedup"] = base / row["ms"]
