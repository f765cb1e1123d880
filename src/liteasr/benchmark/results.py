"""What a benchmark found, kept in ``benchmark.json`` with where and how it was measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np

from liteasr.atomic import write_text
from liteasr.errors import EvaluationError
from liteasr.record import known_fields

__all__ = ["BENCHMARK_NAME", "BenchmarkResults", "BenchmarkRow", "Spread"]

BENCHMARK_NAME = "benchmark.json"
VERSION = 1
MEASURES = ("encoder_ms", "first_token_ms", "rtf", "ratio")


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A median with its quartiles.

    Attributes:
        median: Of all readings.
        low: A quarter of them are below.
        high: A quarter of them are above.
        count: Readings.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, readings: Sequence[float]) -> Self:
        """Sum readings up.

        Raises:
            ValueError: There are none.
        """
        if not readings:
            raise ValueError("a spread needs at least one reading")
        low, high = np.percentile(np.asarray(readings), [25, 75])
        return cls(median=median(readings), low=float(low), high=float(high), count=len(readings))


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkRow:
    """One backend with one model.

    Attributes:
        label: What tables call it.
        backend: Name of the backend.
        model: What it opened.
        encoder_ms: One window through the encoder; None where the backend does not show it.
        first_token_ms: From a waveform in memory to the first token.
        rtf: Time of a whole transcription over the length of the audio.
        ratio: Time of the first backend over this one's, clip by clip in the same rounds: above
            1 it is faster.
        peak_mb: Most memory that its own process held, with everything it imports.
        encoder_flops: For one window; None where it is not known.
        peak_share: FLOPs per second in the encoder, over what a large matrix product reaches.
        notes: What the backend does not show, and why.
    """

    label: str
    backend: str
    model: str
    encoder_ms: Spread | None = None
    first_token_ms: Spread | None = None
    rtf: Spread | None = None
    ratio: Spread | None = None
    peak_mb: float | None = None
    encoder_flops: float | None = None
    peak_share: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, value: object) -> BenchmarkRow:
        """Read what ``dataclasses.asdict`` gave; unknown keys are dropped and logged.

        Raises:
            ValueError: It is something else.
        """
        known = known_fields(cls, value)
        for name in MEASURES:
            if known.get(name) is not None:
                known[name] = Spread(**known_fields(Spread, known[name]))
        return cls(**{**known, "notes": tuple(known.get("notes", ()))})


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkResults:
    """A benchmark and its conditions.

    Attributes:
        rows: In the order in which they were asked for; ratios are to the first.
        skipped: Why a backend has no row, by its name.
        machine: Processor, threads, and what a large matrix product reaches.
        versions: Of the packages, and the commit where the source is a git repository.
        audio: Clips and their seconds.
        method: Warm-up, rounds and order.
    """

    rows: tuple[BenchmarkRow, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    audio: Mapping[str, Any] = field(default_factory=dict)
    method: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        plain: dict[str, Any] = json.loads(json.dumps({"version": VERSION, **asdict(self)}))
        return plain

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``benchmark.json``, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        text = json.dumps(self.to_dict(), indent=1)
        write_text(Path(directory) / BENCHMARK_NAME, text + "\n")

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> BenchmarkResults:
        """Read what `save` wrote.

        Raises:
            EvaluationError: There is no such file, or it holds something else.
        """
        path = Path(directory) / BENCHMARK_NAME
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value.pop("version") > VERSION:
                raise ValueError("it is of a newer version")
            rows = tuple(BenchmarkRow.from_dict(row) for row in value.pop("rows"))
            known = known_fields(cls, {**value, "rows": []})
            return cls(**{**known, "rows": rows})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"{path} holds no benchmark: {error}") from error
