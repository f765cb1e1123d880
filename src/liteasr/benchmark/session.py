"""A benchmark: every backend in turn with the first, each memory in a process of its own."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

import liteasr
from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.benchmark.backends import BackendSpec
from liteasr.benchmark.results import BenchmarkResults, BenchmarkRow, Spread
from liteasr.benchmark.worker import launch
from liteasr.errors import EvaluationError, LiteASRError
from liteasr.plan import device_name
from liteasr.progress import Track, silent

__all__ = ["benchmark"]

log = logging.getLogger(__name__)

Waveform = Float[np.ndarray, "samples"]
Launch = Callable[..., dict[str, Any]]
PACKAGES = ("liteasr", "torch", "transformers", "faster-whisper", "ctranslate2", "openai-whisper",
            "pywhispercpp", "onnx-asr", "onnxruntime", "moonshine-voice")  # fmt: skip
MATRIX = 2048
METHOD = {
    "order": "A B A B, clip by clip, a process for each pair",
    "warm_up": "one transcription, one encoding and one first token of the first clip",
    "decoding": "greedy, no fallback, no timestamps",
    "spread": "median with quartiles",
}


def benchmark(
    specs: Sequence[BackendSpec],
    clips: Sequence[Waveform],
    *,
    rounds: int = 5,
    threads: int = 1,
    run: Launch = launch,
    track: Track = silent,
) -> BenchmarkResults:
    """Measure backends on the same clips.

    The first one is measured with each other in a process for the pair, A B A B, so that
    ``ratio`` compares neighbors in time; its own row sums all pairs up. Peak memory comes from a
    process that opens one backend and transcribes one clip. A backend that cannot be opened is
    left out with its reason.

    Args:
        specs: Which; the first is the one that the others are compared with.
        clips: 16 kHz mono waveforms.
        rounds: Passes over the clips.
        threads: CPU threads of every process.
        run: Does one job; a new process where left out.
        track: Shows progress.

    Raises:
        EvaluationError: The first backend cannot be measured.
        ValueError: No backends, no clips or no rounds.
    """
    if not specs or not clips or rounds < 1:
        raise ValueError("a benchmark needs backends, clips and at least one round")
    session = _Session(clips, rounds, threads, run)
    peak = session.run({"kind": "peak", "size": MATRIX, "threads": threads})["flops_per_s"]
    opened, skipped = session.memory(specs, track)
    first, *others = specs
    if first.label in skipped:
        raise EvaluationError(f"{first.label} cannot be measured: {skipped[first.label]}")
    others = [spec for spec in others if spec.label not in skipped]
    readings, ratios = session.times(first, others, track)
    rows = [
        session.row(spec, readings[spec.label], ratios.get(spec.label), opened[spec.label], peak)
        for spec in (first, *others)
    ]
    return BenchmarkResults(
        rows=tuple(rows),
        skipped=skipped,
        machine={
            "device": device_name(torch.device("cpu")),
            "cpus": os.cpu_count(),
            "threads": threads,
            "matmul_peak_gflops": peak / 1e9,
            "system": platform.platform(),
        },
        versions=_versions(),
        audio={"clips": len(clips), "seconds": sum(session.durations_s)},
        method={"rounds": rounds, **METHOD},
    )


class _Session:
    """Jobs of one benchmark."""

    def __init__(self, clips: Sequence[Waveform], rounds: int, threads: int, run: Launch) -> None:
        self.clips, self.rounds, self.threads, self.run = clips, rounds, threads, run
        self.durations_s = [len(clip) / SAMPLE_RATE_HZ for clip in clips]
        self.counted: dict[str, float | None] = {}

    def job(self, kind: str, specs: Sequence[BackendSpec]) -> dict[str, Any]:
        """Times of backends in turn, or the memory of one."""
        given = {
            "kind": kind,
            "specs": [asdict(spec) for spec in specs],
            "rounds": self.rounds,
            "threads": self.threads,
        }
        return self.run(given, self.clips if kind == "times" else self.clips[:1])

    def memory(
        self, specs: Sequence[BackendSpec], track: Track
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Peak memory by label, and why the others could not be opened."""
        opened: dict[str, dict[str, Any]] = {}
        skipped: dict[str, str] = {}
        for spec in track(specs, description="Memory", total=len(specs)):
            try:
                opened[spec.label] = self.job("memory", [spec])
            except LiteASRError as error:
                skipped[spec.label] = str(error)
                log.warning("%s is left out: %s", spec.label, error)
        return opened, skipped

    def times(
        self, first: BackendSpec, others: Sequence[BackendSpec], track: Track
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[float]]]:
        """Readings by label, and the first one's time over that of each other, in pairs."""
        pairs = [[first, other] for other in others] or [[first]]
        readings: dict[str, list[dict[str, Any]]] = {}
        ratios: dict[str, list[float]] = {}
        for pair in track(pairs, description="Pairs", total=len(pairs)):
            found = self.job("times", pair)["readings"]
            for spec, one in zip(pair, found, strict=True):
                readings.setdefault(spec.label, []).append(one)
            if len(pair) == 2:
                a, b = (one["transcription_s"] for one in found)
                ratios[pair[1].label] = [x / y for x, y in zip(a, b, strict=True)]
        return readings, ratios

    def row(
        self,
        spec: BackendSpec,
        readings: Sequence[Mapping[str, Any]],
        ratios: Sequence[float] | None,
        opened: Mapping[str, Any],
        peak: float,
    ) -> BenchmarkRow:
        """All of one backend."""
        encoder_ms, flops = _milliseconds(readings, "encoder_s"), self.flops(spec)
        rtf = [
            seconds / self.durations_s[place % len(self.durations_s)]
            for one in readings
            for place, seconds in enumerate(one["transcription_s"])
        ]
        share = None
        if flops is not None and encoder_ms is not None:
            share = flops / (encoder_ms.median / 1000) / peak
        return BenchmarkRow(
            label=spec.label,
            backend=spec.kind,
            model=spec.model,
            encoder_ms=encoder_ms,
            first_token_ms=_milliseconds(readings, "first_token_s"),
            rtf=Spread.of(rtf),
            ratio=None if ratios is None else Spread.of(ratios),
            peak_mb=opened["bytes"] / 1e6,
            encoder_flops=flops,
            peak_share=share,
            notes=tuple(f"{measure}: {reason}" for measure, reason in opened["unshown"].items()),
        )

    def flops(self, spec: BackendSpec) -> float | None:
        """Of the encoder of the model that is named, where liteasr can open it."""
        if spec.model not in self.counted:
            try:
                self.counted[spec.model] = self.job("flops", [spec])["flops"]
            except LiteASRError as error:
                log.info("no FLOPs for %s: %s", spec.model, error)
                self.counted[spec.model] = None
        return self.counted[spec.model]


def _milliseconds(readings: Sequence[Mapping[str, Any]], name: str) -> Spread | None:
    found = [1000 * seconds for one in readings for seconds in one[name]]
    return Spread.of(found) if found else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    source = Path(liteasr.__file__).parent
    git = ["git", "-C", str(source), "rev-parse", "HEAD"]
    try:
        ran = subprocess.run(git, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return found
    if ran.returncode == 0:
        found["commit"] = ran.stdout.strip()
    return found
