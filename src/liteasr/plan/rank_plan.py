"""The decision, layer by layer: which form, which rank, and why."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from liteasr.atomic import write_text
from liteasr.encoders import Target
from liteasr.errors import PlanError
from liteasr.record import known_fields

__all__ = ["Form", "LayerPlan", "Pivot", "RankPlan"]

Form = Literal["dense", "chain", "heads_out", "heads_in", "units_out", "units_in"]
Pivot = Literal["inner", "heads_out", "heads_in"]
VERSION = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """What becomes of one layer.

    Attributes:
        name: Dotted name inside the encoder.
        form: ``dense`` keeps the layer, ``chain`` makes two thin ones of it. In an attention that
            is reduced jointly, ``heads_out`` leaves ``rank`` outputs per head (query, key,
            value) and ``heads_in`` ``rank`` inputs per head (output). In an MLP that loses hidden
            units, ``units_out`` leaves the first layer ``rank`` outputs and ``units_in`` the
            second one as many inputs.
        rank: Inner width of the chain, width of a head, or hidden units; None for a dense layer.
        in_features: Width of x.
        out_features: Width of y.
        head_dim: Width of a head before, for the two forms that change it and for pivots by head.
        inner: Inner width of the chain that a layer with fewer hidden units becomes in turn; None
            where it stays one layer.
        pivots: Where an identity takes the place of weights that nothing needs (`pivot_`):
            ``inner`` in one factor of a chain, which saves the square of its inner width;
            ``heads_out`` (key) or ``heads_in`` (output) in every head, which saves the square of
            its width each.
        reason: Why this form, in words a user can act on.
        explained: Share of the output's variance that is kept: of the scores, for query and key by
            head; of the second layer's, for both layers of an MLP with fewer units.
    """

    name: str
    form: Form
    rank: int | None
    in_features: int
    out_features: int
    head_dim: int | None = None
    inner: int | None = None
    pivots: tuple[Pivot, ...] = ()
    reason: str = ""
    explained: float = 1.0

    @classmethod
    def of(
        cls, target: Target, form: Form = "dense", rank: int | None = None, **facts: Any
    ) -> LayerPlan:
        """A decision about a target of an encoder; ``facts`` are the other attributes."""
        return cls(
            name=target.name,
            form=form,
            rank=rank,
            in_features=target.in_features,
            out_features=target.out_features,
            **facts,
        )

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            forms = ", ".join(get_args(Form))
            raise PlanError(f"{self.name}: form must be one of {forms}, got {self.form!r}")
        for name in ("in_features", "out_features"):
            self._require_whole(name, None)
        if (self.form == "dense") != (self.rank is None):
            raise PlanError(
                f"{self.name}: a {self.form} layer {'has no' if self.rank else 'needs a'} rank"
            )
        by_head = self.joint or any(pivot != "inner" for pivot in self.pivots)
        if by_head != (self.head_dim is not None):
            raise PlanError(f"{self.name}: head_dim belongs to heads_out and heads_in, and to them")
        if self.head_dim is not None:
            self._require_whole("head_dim", None)
        if self.rank is not None:
            self._require_whole("rank", self._most)
        if self.inner is not None:
            if not self.by_unit:
                raise PlanError(f"{self.name}: inner belongs to units_out and units_in alone")
            self._require_whole("inner", min(self.shape))
        self._require_pivots()
        if not isinstance(self.explained, int | float):
            raise PlanError(f"{self.name}: explained must be a number, got {self.explained!r}")

    @property
    def joint(self) -> bool:
        """Whether the layer is reduced together with another one of its attention."""
        return self.form in ("heads_out", "heads_in")

    @property
    def by_unit(self) -> bool:
        """Whether the layer is reduced together with the other one of its MLP."""
        return self.form in ("units_out", "units_in")

    @property
    def inner_width(self) -> int | None:
        """Inner width of the chain that is planned; None where there is none."""
        return self.rank if self.form == "chain" else self.inner

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs after the reduction; a chain keeps them."""
        left = 0 if self.rank is None else self.rank
        if self.joint:
            left *= self.heads
        if self.form in ("heads_in", "units_in"):
            return left, self.out_features
        if self.form in ("heads_out", "units_out"):
            return self.in_features, left
        return self.in_features, self.out_features

    @property
    def heads(self) -> int:
        """How many heads there are, where the layer is reduced or pivoted by head."""
        assert self.head_dim is not None
        reads = self.form == "heads_in" or "heads_in" in self.pivots
        return (self.in_features if reads else self.out_features) // self.head_dim

    @property
    def head_width(self) -> int:
        """Width of a head after the reduction, where the layer is reduced or pivoted by head."""
        width = self.rank if self.joint else self.head_dim
        assert width is not None
        return width

    @property
    def multiplied(self) -> int:
        """Weights that every vector is multiplied with, in the planned form, without the bias."""
        inputs, outputs = self.shape
        inner = self.inner_width
        return inputs * outputs if inner is None else inner * (inputs + outputs)

    @property
    def parameters(self) -> int:
        """The same without those that pivots make an identity of, which nobody has to keep."""
        saved = 0
        for pivot in self.pivots:
            saved += self.inner_width**2 if pivot == "inner" else self.heads * self.head_width**2  # type: ignore[operator]
        return self.multiplied - saved

    @property
    def _most(self) -> int:
        """The largest rank that the form allows."""
        if self.by_unit:
            return self.out_features if self.form == "units_out" else self.in_features
        if self.joint and self.head_dim is not None:
            return self.head_dim
        return min(self.in_features, self.out_features)

    def _require_pivots(self) -> None:
        if unknown := [pivot for pivot in self.pivots if pivot not in get_args(Pivot)]:
            known = ", ".join(get_args(Pivot))
            raise PlanError(f"{self.name}: pivots must be of {known}, got {unknown[0]!r}")
        if "inner" in self.pivots and self.inner_width is None:
            raise PlanError(f"{self.name}: a {self.form} layer has no inner pivots")
        by_head = set(self.pivots) - {"inner"}
        other_form = self.joint and bool(by_head - {self.form})
        if other_form or (self.by_unit and by_head) or len(by_head) > 1:
            raise PlanError(f"{self.name}: a {self.form} layer cannot have pivots {self.pivots}")
        if by_head and self.form == "chain" and self.rank < self.head_dim:  # type: ignore[operator]
            raise PlanError(
                f"{self.name}: pivots by head take a rank of {self.head_dim} or more, "
                f"got {self.rank}"
            )

    def _require_whole(self, name: str, limit: int | None) -> None:
        value = getattr(self, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < 1 or (limit is not None and value > limit):
            upper = "at least 1" if limit is None else f"between 1 and {limit}"
            raise PlanError(f"{self.name}: {name} must be a whole number {upper}, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RankPlan:
    """A form and a rank for every target of an encoder, with how they were chosen.

    Attributes:
        model: Name of the model the plan was made for.
        rule: Name of the rule that chose, such as ``threshold``.
        options: The rule's own settings, and what a budget of time is expected to reach.
        layers: One decision per target, in running order.
        pooled_from: Block from which on pairs of positions are one; None where none is.
        version: Version of this format.
    """

    model: str
    rule: str
    layers: tuple[LayerPlan, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    pooled_from: int | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        if not self.layers:
            raise PlanError("the plan has no layers: make one with `liteasr plan`")
        names = [layer.name for layer in self.layers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PlanError(f"the plan names {', '.join(twice)} more than once: keep one of each")

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
        if not isinstance(value, Mapping) or type(value.get("version")) is not int:
            raise PlanError("not a rank plan: expected an object with a 'version'")
        if value["version"] > VERSION:
            raise PlanError(
                f"plan version {value['version']} is newer than {VERSION}: upgrade liteasr"
            )
        try:
            known = known_fields(cls, value)
        except ValueError as error:
            raise PlanError(f"not a rank plan: {error}") from error
        layers = [_layer_from(index, layer) for index, layer in enumerate(value["layers"])]
        return cls(**{**known, "layers": tuple(layers)})

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
        except OSError as error:
            raise PlanError(f"cannot read a plan from {path}: {error.strerror}") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise PlanError(f"{path} is not JSON: {error}") from error
        return cls.from_dict(value)


def _layer_from(index: int, value: Any) -> LayerPlan:
    name = value.get("name", f"layer {index}") if isinstance(value, Mapping) else f"layer {index}"
    try:
        known = known_fields(LayerPlan, value)
    except ValueError as error:
        raise PlanError(f"not a rank plan: {name}: {error}") from error
    return LayerPlan(**{**known, "pivots": tuple(known.get("pivots", ()))})
