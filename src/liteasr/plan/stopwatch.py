"""Measuring what the parts of an encoder take, with the modules that compression puts in."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from math import ceil, log2
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders import AttentionSite, adapter_for, require_dense, run_encoder
from liteasr.lowrank import break_even_rank
from liteasr.nn import LowRankLinear, attend
from liteasr.plan.latency import ENCODER, LatencySetting, LatencyTable, layer_key, product_key
from liteasr.plan.rank_plan import LayerPlan
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["Action", "device_name", "latency_setting", "measure_latency", "medians_ms"]

REPEATS = 7
READING_S = 0.005  # short calls are read together, until the clock's own cost is nothing
RANK_SHARES = (0.125, 0.25, 0.5, 0.75, 0.875, 1.0)  # of the break-even rank, or a head's width

Part = tuple[str, int]
Action = Callable[[], Tensor]
Stopwatch = Callable[[Mapping[Part, Action], Track], Mapping[Part, float]]


def measure_latency(
    speech: SpeechModel, *, stopwatch: Stopwatch | None = None, track: Track = silent
) -> LatencyTable:
    """Time the dense encoder, its layers in every form and its attentions' products.

    Every distinct shape once, over the encoder's positions, in the model's dtype, on its device
    and with the current number of threads; chains and narrower heads at six ranks each.

    Args:
        speech: The model, not compressed.
        stopwatch: Gives milliseconds for actions; `medians_ms` where left out.
        track: Shows progress.

    Raises:
        PlanError: The encoder is compressed already.
    """
    require_dense(speech.model, speech.name)
    actions = {(ENCODER, 0): _encoder(speech), **_layers(speech.model), **_products(speech.model)}
    with torch.inference_mode():
        times = (stopwatch or medians_ms)(actions, track)
    curves: dict[str, list[tuple[float, float]]] = {}
    for (key, rank), ms in sorted(times.items()):
        curves.setdefault(key, []).append((float(rank), ms))
    return LatencyTable(
        model=speech.name,
        setting=latency_setting(speech.model),
        curves={key: tuple(points) for key, points in curves.items()},
    )


def latency_setting(model: Any) -> LatencySetting:
    """What latencies of a model measured here and now would depend on."""
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    first = next(encoder.parameters())
    shapes = sorted((name, tuple(p.shape)) for name, p in encoder.named_parameters())
    heads = [(site.heads, site.head_dim) for site in adapter.attentions(encoder)]
    units = [site.units for site in adapter.mlps(encoder)]  # they have forms of their own
    return LatencySetting(
        device=device_name(first.device),
        threads=torch.get_num_threads(),
        dtype=str(first.dtype).removeprefix("torch."),
        torch=torch.__version__,
        transformers=version("transformers"),
        shapes=hashlib.sha256(repr((shapes, heads, *units)).encode()).hexdigest(),
    )


def medians_ms(
    actions: Mapping[Part, Action],
    track: Track = silent,
    *,
    repeats: int = REPEATS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Part, float]:
    """Median milliseconds of one call of each action.

    The first call of each is not counted, and the second tells how many make a reading. Readings
    are interleaved: a machine that slows down for a while slows all of them.
    """
    calls: dict[Part, int] = {}
    readings: dict[Part, list[float]] = {part: [] for part in actions}
    rounds = [part for _ in range(repeats + 1) for part in actions]
    for part in track(rounds, description="Measuring", total=len(rounds)):
        if part in calls:
            readings[part].append(_seconds(actions[part], calls[part], clock))
            continue
        _seconds(actions[part], 1, clock)
        once = _seconds(actions[part], 1, clock)
        calls[part] = min(100, ceil(READING_S / max(once, 1e-9)))
    return {part: 1000 * median(found) for part, found in readings.items()}


def _seconds(action: Action, calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        output = action()
    if output.device.type != "cpu":
        torch.accelerator.synchronize(output.device)
    return (clock() - start) / calls


def _encoder(speech: SpeechModel) -> Action:
    adapter = adapter_for(speech.model)
    silence = np.zeros(int(adapter.window_s(speech.processor) * SAMPLE_RATE_HZ), np.float32)
    window = next(adapter.inputs(speech.processor, silence))
    return lambda: run_encoder(adapter.encoder(speech.model), window)


def _layers(model: Any) -> dict[Part, Action]:
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    plans = {(layer_key(p), p.rank or 0): p for p in _forms(model)}
    like = next(encoder.parameters())
    return {part: _layer(plan, adapter.positions(encoder), like) for part, plan in plans.items()}


def _forms(model: Any) -> Iterator[LayerPlan]:
    """Every target of the encoder, in every form that it may take."""
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    targets = {target.name: target for target in adapter.targets(encoder)}
    for target in targets.values():
        yield LayerPlan.of(target)
        for rank in _ranks(break_even_rank(target.in_features, target.out_features)):
            yield LayerPlan.of(target, "chain", rank)
    for site in adapter.attentions(encoder):
        for rank in _ranks(site.head_dim):
            for name in (site.query, site.key, site.value):
                yield LayerPlan.of(targets[name], "heads_out", rank, head_dim=site.head_dim)
            yield LayerPlan.of(targets[site.output], "heads_in", rank, head_dim=site.head_dim)
    for mlp in adapter.mlps(encoder):
        for rank in _ranks(mlp.units):
            yield LayerPlan.of(targets[mlp.first], "units_out", rank)
            yield LayerPlan.of(targets[mlp.second], "units_in", rank)


def _products(model: Any) -> dict[Part, Action]:
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    like, positions = next(encoder.parameters()), adapter.positions(encoder)
    sites = {(site.heads, site.head_dim): site for site in adapter.attentions(encoder)}
    made: dict[Part, Action] = {}
    for site in sites.values():
        whole = site.head_dim
        made[product_key(site, "products"), 0] = _product(site, whole, whole, positions, like)
        for width in (width for width in _ranks(whole) if width < whole):
            made[product_key(site, "scores"), width] = _product(site, width, whole, positions, like)
            made[product_key(site, "values"), width] = _product(site, whole, width, positions, like)
    return made


def _ranks(limit: float) -> list[int]:
    """A coarse grid up to a limit, of round numbers where there is room for them."""
    step = 2 ** int(min(4, max(0, log2(limit / 8))))
    return sorted({max(1, step * int(share * limit / step)) for share in RANK_SHARES})


def _layer(plan: LayerPlan, positions: int, like: Tensor) -> Action:
    inputs, outputs = plan.shape
    module: nn.Module = nn.Linear(inputs, outputs, device="meta", dtype=like.dtype)
    if plan.inner_width is not None:
        module = LowRankLinear(inputs, outputs, plan.inner_width, device="meta", dtype=like.dtype)
    module.to_empty(device=like.device)  # plain numbers, and nobody's random state is touched
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.01)
    x = torch.full((1, positions, inputs), 0.5, device=like.device, dtype=like.dtype)
    return lambda: module(x)


def _product(
    site: AttentionSite, query_key: int, value: int, positions: int, like: Tensor
) -> Action:
    query, key, values = (
        torch.full((1, positions, site.heads * width), 0.5, device=like.device, dtype=like.dtype)
        for width in (query_key, query_key, value)
    )
    return lambda: attend(query, key, values, heads=site.heads, scaling=site.scaling)


def device_name(device: torch.device) -> str:
    """What the processor calls itself."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return device.type
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(errors="replace").splitlines() if cpus.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
