"""How long the parts of one encoder take on one machine, and a budget's prices from that."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from liteasr.atomic import write_text
from liteasr.encoders import AttentionSite
from liteasr.errors import PlanError
from liteasr.plan.cost import Prices
from liteasr.plan.rank_plan import LayerPlan, RankPlan
from liteasr.record import known_fields, stored_object

__all__ = ["ENCODER", "Latencies", "LatencySetting", "LatencyTable", "layer_key", "product_key"]

VERSION = 1
ENCODER = "encoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencySetting:
    """What latencies depend on: a table holds where all of this is the same.

    Attributes:
        device: Name of the processor.
        threads: CPU threads of PyTorch.
        dtype: Of the encoder's weights.
        torch: Version of PyTorch.
        transformers: Version of transformers, which runs what is not reduced.
        shapes: Fingerprint of the encoder's shapes; its weights do not matter.
    """

    device: str
    threads: int
    dtype: str
    torch: str
    transformers: str
    shapes: str

    def differences(self, other: LatencySetting) -> str:
        """What is not the same, such as ``threads 2, here 4``; empty where all is."""
        names = [field.name for field in fields(self)]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return "; ".join(f"{name} {old}, here {new}" for name, old, new in pairs if old != new)


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyTable:
    """Measured milliseconds of every part of an encoder in every form, for one window of audio.

    Attributes:
        model: Name of the model.
        setting: Where and how it was measured.
        curves: By part (`layer_key`, `product_key`, ``encoder``): a few ranks, least first, and
            the time at each. What has no rank has one point, at 0.
        version: Version of this format.
    """

    model: str
    setting: LatencySetting
    curves: Mapping[str, Sequence[tuple[float, float]]]
    version: int = VERSION

    @property
    def encoder_ms(self) -> float:
        """Of the whole dense encoder."""
        return self.ms(ENCODER)

    def ms(self, key: str, rank: int = 0) -> float:
        """Of a part at some rank: a line between the measured ones, never falling with the rank.

        A rank takes at least what every smaller one took, so noise errs on the slow side. Beyond
        both ends times are those of the ends.

        Raises:
            PlanError: The part was not measured.
        """
        if key not in self.curves:
            raise PlanError(f"the latencies say nothing about {key}: measure them again")
        ranks, times = zip(*self.curves[key], strict=True)
        found: float = np.interp(rank, ranks, np.maximum.accumulate(times))
        return float(found)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LatencyTable:
        """Read what `save` wrote.

        Raises:
            PlanError: There is no such file, or it does not hold latencies of this version.
        """
        with stored_object(path, holds="latencies", version=VERSION, error=PlanError) as value:
            known = known_fields(cls, value)
            setting = LatencySetting(**known_fields(LatencySetting, known["setting"]))
            curves = {
                n: tuple((float(x), float(y)) for x, y in c) for n, c in known["curves"].items()
            }
            return cls(**{**known, "setting": setting, "curves": curves})


@dataclass(frozen=True, kw_only=True, slots=True)
class Latencies(Prices):
    """Prices layers in milliseconds for one whole window of audio, from a table.

    An attention with narrower heads takes t(a, b) for both products, a the width of queries and
    keys, b that of values. Unequal widths are padded, so t is no sum of a scores' part and a
    values' part; each is priced by what it alone saves (or costs) at the full width d of the
    other::

        t(a, b) ≈ t(d, d) + [t(a, d) - t(d, d)] + [t(d, b) - t(d, d)]

    Where both are narrow this is more than the truth: such a plan is faster than it promises.
    What cannot be reduced takes what the whole encoder takes beyond the sum of its parts.

    Attributes:
        table: What `measure_latency` gave.
    """

    table: LatencyTable

    def layer(self, plan: LayerPlan) -> float:
        """Of a layer in its planned form."""
        return self.table.ms(layer_key(plan), plan.rank or 0)

    def products(self, site: AttentionSite, query_key: int, value: int) -> float:
        """Of an attention's two products, at the widths of its heads."""
        dense = self.table.ms(product_key(site, "products"))
        changes = (
            self.table.ms(product_key(site, half), width) - dense
            for half, width in (("scores", query_key), ("values", value))
            if width < site.head_dim
        )
        return dense + sum(changes)

    @property
    def dense(self) -> float:
        """Of the whole encoder before compression, and never less than its parts."""
        return max(self.table.encoder_ms, self._reducible)

    def refusal(self, keep: float, least: float) -> str:
        """Why a share cannot be kept: what it asks for, and the largest speed-up there is."""
        return (
            f"a speed-up of {1 / keep:.4g} asks for {keep * self.dense:.3g} ms of the encoder's "
            f"{self.dense:.3g} ms; on this machine no ranks are faster than {least:.3g} ms: the "
            f"largest speed-up is {self.dense / least:.4g}"
        )

    def promise(self, plan: RankPlan) -> Mapping[str, Any]:
        """What the encoder took and is expected to take, and on which machine."""
        found = {
            "dense_ms": round(self.dense, 3),
            "expected_ms": round(self.of(plan), 3),
            "device": self.table.setting.device,
            "threads": self.table.setting.threads,
        }
        return {"latency": found}


def layer_key(plan: LayerPlan) -> str:
    """Under which a layer is found, whatever its name and rank."""
    heads = f" by {plan.head_dim}" if plan.head_dim else ""
    return f"{plan.form} {plan.in_features} -> {plan.out_features}{heads}"


def product_key(site: AttentionSite, part: str) -> str:
    """Under which ``products`` as they were, or narrower ``scores`` or ``values`` are found."""
    return f"{part} {site.heads} x {site.head_dim}"
