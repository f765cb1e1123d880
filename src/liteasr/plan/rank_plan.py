"""The decision, layer by layer: which form, which rank, and why."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from liteasr.atomic import write_text
from liteasr.errors import PlanError

__all__ = ["LayerPlan", "RankPlan"]

log = logging.getLogger(__name__)

Form = Literal["dense", "chain"]
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """What becomes of one layer.

    Attributes:
        name: Dotted name inside the encoder.
        form: ``dense`` keeps the layer, ``chain`` makes two thin ones of it.
        rank: Inner width of the chain; None for a dense layer.
        in_features: Width of x.
        out_features: Width of y.
        reason: Why this form, in words a user can act on.
        explained: Share of the output's variance that is kept.
    """

    name: str
    form: Form
    rank: int | None
    in_features: int
    out_features: int
    reason: str
    explained: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in ("dense", "chain"):
            raise PlanError(f"{self.name}: form must be 'dense' or 'chain', got {self.form!r}")
        if (self.form == "dense") != (self.rank is None):
            raise PlanError(f"{self.name}: a chain has a rank and a dense layer has none")
        limit = min(self.in_features, self.out_features)
        if self.rank is not None and not 1 <= self.rank <= limit:
            raise PlanError(f"{self.name}: rank must be between 1 and {limit}, got {self.rank}")

    @property
    def parameters(self) -> int:
        """Weights of the layer in its planned form, without the bias."""
        if self.rank is None:
            return self.in_features * self.out_features
        return self.rank * (self.in_features + self.out_features)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankPlan:
    """A form and a rank for every target of an encoder, with how they were chosen.

    Attributes:
        model: Name of the model the plan was made for.
        rule: Name of the rule that chose, such as ``threshold``.
        options: The rule's own settings.
        layers: One decision per target, in running order.
        version: Version of this format.
    """

    model: str
    rule: str
    layers: tuple[LayerPlan, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __iter__(self) -> Iterator[LayerPlan]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> LayerPlan:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise PlanError(f"the plan has no layer {name!r}")

    @property
    def dense_parameters(self) -> int:
        """Weights of all targets before compression."""
        return sum(layer.in_features * layer.out_features for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights of all targets in their planned forms."""
        return sum(layer.parameters for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready value."""
        return {**asdict(self), "options": dict(self.options)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> RankPlan:
        """Read what `to_dict` gave; keys of a newer version are dropped and logged.

        Raises:
            PlanError: The value is not a plan, or of a newer format.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("version"), int):
            raise PlanError("not a rank plan: expected an object with a 'version'")
        if value["version"] > VERSION:
            raise PlanError(
                f"plan version {value['version']} is newer than {VERSION}: upgrade liteasr"
            )
        try:
            layers = tuple(LayerPlan(**_known(LayerPlan, layer)) for layer in value["layers"])
            return cls(**{**_known(cls, value), "layers": layers})
        except (KeyError, TypeError) as error:
            raise PlanError(f"not a rank plan: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``plan.json``, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RankPlan:
        """Read a plan that `save` or a person wrote.

        Raises:
            PlanError: There is no such file, or it does not hold a plan.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise PlanError(f"no plan at {path}: make one with `liteasr plan`") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise PlanError(f"{path} is not JSON: {error}") from error
        return cls.from_dict(value)


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(kind)}
    if dropped := sorted(set(value) - known):
        log.warning("dropping unknown keys of a %s: %s", kind.__name__, ", ".join(dropped))
    return {key: value[key] for key in value if key in known}
