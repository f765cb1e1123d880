"""What a sweep found, kept in ``sweep.json``: plans, sizes, divergences, spectra."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from liteasr.atomic import write_text
from liteasr.errors import EvaluationError
from liteasr.plan import RankPlan
from liteasr.record import known_fields
from liteasr.refinement_report import RefinementReport

__all__ = ["DENSE", "SWEEP_NAME", "SweepResults", "SweepRow"]

SWEEP_NAME = "sweep.json"
DENSE = "dense"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """One model of a sweep.

    Attributes:
        label: What tables call it, such as ``joint 0.7``.
        method: How its ranks were chosen; ``dense`` for the original.
        keep: Share of the parameters that was asked for.
        encoder_parameters: Parameters of the encoder without positions.
        kept_parameters: The share that is left.
        kept_flops: Share of the encoder's FLOPs that is left.
        flops: Of the encoder, for one window.
        mean_kl: KL(dense ‖ this) per token of the dense transcripts, in nats.
        kl_interval: Its 95 % bootstrap interval.
        agreement: Share of tokens at which both find the same one the likeliest.
        plan: The ranks; None for the original.
        refinement: How it was trained; None where it was not.
        checkpoint: Its folder in the directory of the sweep; None for the original.
    """

    label: str
    method: str
    keep: float
    encoder_parameters: int
    kept_parameters: float
    kept_flops: float
    flops: float
    mean_kl: float
    kl_interval: tuple[float, float]
    agreement: float
    plan: RankPlan | None = None
    refinement: RefinementReport | None = None
    checkpoint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {
            **plain,
            "kl_interval": list(self.kl_interval),
            "plan": None if self.plan is None else self.plan.to_dict(),
            "refinement": None if self.refinement is None else self.refinement.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: object) -> SweepRow:
        """Read what ``to_dict`` gave; unknown keys are dropped and logged.

        Raises:
            ValueError: It is something else.
        """
        known = known_fields(cls, _without(value, "plan", "refinement"))
        plan, refinement = (_part(value, name) for name in ("plan", "refinement"))
        return cls(
            **{
                **known,
                "kl_interval": tuple(known["kl_interval"]),
                "plan": None if plan is None else RankPlan.from_dict(plan),
                "refinement": None
                if refinement is None
                else RefinementReport.from_dict(refinement),
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResults:
    """A sweep, as far as it has come.

    Attributes:
        model: Name of the dense model.
        facts: What the numbers depend on: audio, decoding.
        environment: Versions and machine.
        rows: The dense model first.
        skipped: Why a label has no row.
        spectra: Share of the variance by component, for every layer; a few components each.
    """

    model: str
    facts: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[SweepRow, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    spectra: Mapping[str, list[list[float]]] = field(default_factory=dict)

    def row(self, label: str) -> SweepRow | None:
        """The row of a label, where there is one."""
        return next((row for row in self.rows if row.label == label), None)

    def plus(self, row: SweepRow) -> SweepResults:
        """The same with one more row."""
        return replace(self, rows=(*self.rows, row))

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``sweep.json``, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        value = {
            "version": VERSION,
            **{name: getattr(self, name) for name in self.__slots__ if name != "rows"},
            "rows": [row.to_dict() for row in self.rows],
        }
        write_text(Path(directory) / SWEEP_NAME, json.dumps(value, indent=1) + "\n")

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> SweepResults:
        """Read what `save` wrote.

        Raises:
            EvaluationError: There is no such file, or it holds something else.
        """
        path = Path(directory) / SWEEP_NAME
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value.pop("version") > VERSION:
                raise ValueError("it is of a newer version")
            rows = tuple(SweepRow.from_dict(row) for row in value.pop("rows"))
            return cls(**{**known_fields(cls, {**value, "rows": []}), "rows": rows})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"{path} holds no sweep: {error}") from error


def _without(value: object, *names: str) -> object:
    if not isinstance(value, Mapping):
        return value
    return {key: part for key, part in value.items() if key not in names}


def _part(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
