"""Attentions by themselves, in the shapes of an encoder."""

from __future__ import annotations

from functools import partial

import torch
from gpu_measure import Bench, bytes_of
from gpu_models import Shape
from torch import Tensor

from liteasr.kernels import QueryFold, ValueFold, low_rank_attention

__all__ = ["measure_kernels"]

WIDTHS = ((64, 64), (32, 64), (32, 32), (24, 48), (16, 40))  # of a head of 64: qk, v
FOLDED = ((32, 32, 48), (48, 48, 64))  # inner features: q, k, v


def measure_kernels(bench: Bench, shape: Shape, batch: int) -> None:
    """Attentions by themselves, at the encoder's number of positions."""
    heads, width = shape.config["encoder_attention_heads"], shape.config["d_model"]
    positions, head = shape.config.get("max_source_positions", 1500), width // heads
    facts = {"batch": batch, "heads": heads, "positions": positions}
    for wide in WIDTHS:
        query_key, value = (max(1, side * head // 64) for side in wide)
        sizes = (query_key, query_key, value)
        q, k, v = (_random(bench, batch, heads, positions, size) for size in sizes)
        for backend in ("sdpa", "triton"):
            bench.time(
                "attention", f"qk={query_key} v={value}",
                partial(low_rank_attention, q, k, v, scaling=head**-0.5, backend=backend),
                flops=2.0 * batch * heads * positions**2 * (query_key + value),
                moved=bytes_of(q, k, v, v), backend=backend, **facts,
            )  # fmt: skip
    for ranks in FOLDED:
        _measure_folded(bench, ranks, batch, heads, head, positions)


def _measure_folded(
    bench: Bench, ranks: tuple[int, ...], batch: int, heads: int, head: int, positions: int
) -> None:
    q_rank, k_rank, v_rank = (max(1, rank * head // 64) for rank in ranks)
    q, k, v = (_random(bench, batch, positions, rank) for rank in (q_rank, k_rank, v_rank))
    scores = QueryFold(_random(bench, heads, q_rank, k_rank), _random(bench, heads, k_rank))
    values = ValueFold(_random(bench, heads, head, v_rank), _random(bench, heads, head))
    out = torch.empty(batch, heads, positions, head, device="meta", dtype=bench.dtype)
    inner = positions * (k_rank + v_rank) + q_rank * k_rank + v_rank * head
    for backend in ("sdpa", "triton"):
        bench.time(
            "folded attention", f"q={q_rank} k={k_rank} v={v_rank}",
            partial(
                low_rank_attention, q, k, v, scaling=head**-0.5,
                query_fold=scores, value_fold=values, backend=backend,
            ),
            flops=2.0 * batch * heads * positions * inner,
            moved=bytes_of(q, k, v, *scores, *values, out), backend=backend,
            batch=batch, heads=heads, positions=positions,
        )  # fmt: skip


def _random(bench: Bench, *shape: int) -> Tensor:
    return torch.randn(shape, device=bench.device).to(bench.dtype)
