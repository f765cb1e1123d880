"""All ranks at once, under a budget of encoder parameters, FLOPs or milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from typing import Any, Literal, get_args

from torch import Tensor, nn

from liteasr.encoders import AttentionSite, MlpSite, Target, adapter_for
from liteasr.errors import PlanError
from liteasr.lowrank import (
    AttentionSpectrum,
    Choice,
    Spectra,
    allocate,
    break_even_rank,
    lower_hull,
)
from liteasr.plan.cost import Prices, Unit
from liteasr.plan.rank_plan import Form, LayerPlan, Pivot
from liteasr.sensitivity import Sensitivity, query_key_of, value_output_of

__all__ = ["BudgetConfig", "plan_by_budget"]

Options = list[Choice[tuple[LayerPlan, ...]]]
Head = tuple[Pivot, int]  # what the heads of a layer can have, and how wide they are


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetConfig:
    """How much of the encoder may be left.

    Attributes:
        keep: Share of the encoder's cost to keep, in (0, 1]; positions are left out.
        unit: What is counted: ``parameters``, ``flops`` or ``latency``, the measured time of one
            window.
        joint: Whether attentions may be reduced as a unit where that loses less.
        units: Whether MLPs may lose hidden units where that loses less; it takes a calibration
            that looked at them. Where parameters are what is counted, what is left may be chains.
        weighed: Whether errors of layers are weighed by what they do to the encoder's output,
            where the calibration took readings of it.
        convolutions: Whether a convolution before the blocks may become a chain, where parameters
            are what is counted.
        pivots: Whether weights that nothing needs become an identity (`pivot_`), where parameters
            are what is counted: it takes nothing from what the encoder computes.
        multiple_of: Ranks of chains are multiples of this.
        head_multiple_of: Widths of heads are multiples of this.
        version: Version of this format.
    """

    keep: float
    unit: Unit = "parameters"
    joint: bool = True
    units: bool = True
    weighed: bool = True
    convolutions: bool = True
    pivots: bool = True
    multiple_of: int = 16
    head_multiple_of: int = 8
    version: int = 5

    def __post_init__(self) -> None:
        if not 0.0 < self.keep <= 1.0:
            raise ValueError(f"keep must be in (0, 1], got {self.keep}")
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit must be one of {', '.join(get_args(Unit))}, got {self.unit!r}")
        for name in ("multiple_of", "head_multiple_of"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def plan_by_budget(
    prices: Prices, spectra: Spectra, sensitivity: Sensitivity, config: BudgetConfig
) -> tuple[LayerPlan, ...]:
    """Minimise Σ_l loss_l(tail_l(k_l)) subject to a budget of whatever the prices count.

    tail_l(k) = Σ_{i>k} λ_i is the energy that rank k drops, loss_l what probing found that this
    does to the encoder's output (`Sensitivity.loss`). Queries with keys, and values with the
    output, may be reduced together instead, and an MLP may lose hidden units: such a form competes
    with every pair of chains. What cannot be reduced (norms, biases, most convolutions) is paid
    from the same budget.

    Raises:
        PlanError: The budget is below the smallest encoder that ranks can make.
    """
    adapter = adapter_for(prices.model)
    encoder = adapter.encoder(prices.model)
    menu = _Menu(prices, spectra, sensitivity, config)
    targets = {target.name: target for target in adapter.targets(encoder)}
    parts = [menu.convolution(t) for t in menu.known(adapter.convolutions(encoder))]
    for site in adapter.attentions(encoder):
        for first, second in ((site.query, site.key), (site.value, site.output)):
            parts.append(menu.pair(site, targets.pop(first), targets.pop(second)))
    for mlp in menu.mlps(adapter.mlps(encoder)):
        parts.append(menu.mlp(targets.pop(mlp.first), targets.pop(mlp.second)))
    parts.extend(menu.single(target) for target in targets.values())
    try:
        chosen = allocate(parts, config.keep * prices.whole - prices.fixed)
    except ValueError:
        least = prices.fixed + sum(min(choice.cost for choice in part) for part in parts)
        raise PlanError(prices.refusal(config.keep, least)) from None
    layers = {layer.name: layer for choice in chosen for layer in choice.pick}
    convolutions = {target.name for target in adapter.convolutions(encoder)}
    narrow = [x for name, x in layers.items() if name in convolutions and x.form != "dense"]
    return (*narrow, *(layers[target.name] for target in adapter.targets(encoder)))


@dataclass(frozen=True, slots=True)
class _Menu:
    """The options of every part of the encoder, with costs and expected losses."""

    prices: Prices
    spectra: Spectra
    sensitivity: Sensitivity
    config: BudgetConfig

    def single(self, target: Target, head: Head | None = None) -> Options:
        """A layer on its own: dense, or a chain of some rank; which heads can have pivots in it."""
        spectrum = self.spectra[target.name]

        def chain(rank: int) -> LayerPlan:
            explained = spectrum.explained(rank)
            made = LayerPlan.of(target, "chain", rank, reason="budget", explained=explained)
            return self._pivoted(made, head)

        dense = LayerPlan.of(target, reason="every reduction costs more than it saves elsewhere")
        return self._or_chains(self._pivoted(dense, head), chain, _tails(spectrum.variances))

    def pair(self, site: AttentionSite, first: Target, second: Target) -> Options:
        """Two layers of an attention: each on its own, or both by head."""
        half = self.prices.products(site, site.head_dim, site.head_dim) / 2
        rotated = site.rotary and first.name == site.query
        kind: Pivot = "heads_out" if first.name == site.query else "heads_in"
        options = self._apart(first, second, half, None if rotated else (kind, site.head_dim))
        if self.config.joint and site.name in self.spectra.attentions and not rotated:
            options.extend(self._by_head(site, first, second))
        return options

    def known(self, convolutions: Sequence[Target]) -> list[Target]:
        """Those that were looked at, where parameters are what is counted."""
        if self.config.unit != "parameters" or not self.config.convolutions:
            return []
        known = self.spectra.layers.keys() & self.sensitivity.curves.keys()
        return [target for target in convolutions if target.name in known]

    def convolution(self, target: Target) -> Options:
        """The same as for a layer, at what it costs less than whole, which is paid already."""
        whole = self.prices.layer(LayerPlan.of(target))
        return [replace(option, cost=option.cost - whole) for option in self.single(target)]

    def mlps(self, sites: Sequence[MlpSite]) -> list[MlpSite]:
        """Those that may lose units."""
        return [s for s in sites if self.config.units and s.second in self.spectra.mlps]

    def mlp(self, first: Target, second: Target) -> Options:
        """Two layers of an MLP: each on its own, or both with fewer units between them."""
        options = self._apart(first, second)
        units, spectrum = self.spectra.mlps[second.name], self.spectra[second.name]
        total = max(units.elimination.losses[0], 1e-300)
        energies, tails = self.spectra[first.name].energies, _tails(spectrum.variances)
        for count, loss in units.elimination.losses.items():
            if not 0 < count < second.in_features:
                continue
            facts: dict[str, Any] = {
                "reason": "budget, by unit",
                "explained": max(0.0, 1 - loss / total),
            }
            # a share: these losses count other positions than the energies that were probed
            dropped = loss / total * spectrum.total_variance
            lost = self.sensitivity.loss(second.name, dropped)
            # what components of all units leave; those of the units that stay leave a little less
            left = _tails(energies[units.kept(count)].sum(0))
            narrow = (
                self._narrow(LayerPlan.of(first, "units_out", count, **facts), left),
                self._narrow(LayerPlan.of(second, "units_in", count, **facts), tails),
            )
            pairs = _pairs(*map(lower_hull, narrow), loss=lost)
            options.extend(lower_hull(pairs))  # all of them are thousands for every count
        return options

    def _narrow(self, whole: LayerPlan, tails: Sequence[float]) -> Options:
        """A layer with fewer units: as it is, or a chain in turn where parameters are counted."""
        if self.config.unit != "parameters":
            return [Choice((whole,), self.prices.layer(whole), 0.0)]
        return self._or_chains(
            whole, lambda rank: self._pivoted(replace(whole, inner=rank), None), tails
        )

    def _or_chains(
        self, whole: LayerPlan, chain: Callable[[int], LayerPlan], tails: Sequence[float]
    ) -> Options:
        """A layer in one piece, or a chain of some rank where that costs less."""
        options: Options = [Choice((whole,), self.prices.layer(whole), 0.0)]
        step = self.config.multiple_of
        for rank in range(step, self._limit(whole), step):
            made = chain(rank)
            if (cost := self.prices.layer(made)) < options[0].cost:
                loss = self.sensitivity.loss(whole.name, tails[rank])
                options.append(Choice((made,), cost, loss))
        return options

    def _apart(
        self, first: Target, second: Target, extra: float = 0.0, head: Head | None = None
    ) -> Options:
        """Every pair of forms that two layers have on their own."""
        return _pairs(self.single(first), self.single(second, head), cost=extra)

    def _by_head(self, site: AttentionSite, first: Target, second: Target) -> Options:
        scores = first.name == site.query
        energies = _energies(self.spectra.attentions[site.name], scores=scores)
        name = query_key_of(site) if scores else value_output_of(site)
        tails = _tails(energies)
        total = max(tails[0], 1e-300)
        step = self.config.head_multiple_of
        kind: Literal["heads_out", "heads_in"] = "heads_out" if scores else "heads_in"
        forms: tuple[Form, Form] = ("heads_out", kind)
        options: Options = []
        for rank in range(step, site.head_dim, step):
            narrow = [
                LayerPlan.of(
                    target,
                    form,
                    rank,
                    head_dim=site.head_dim,
                    reason="budget, by head",
                    explained=1 - tails[rank] / total,
                )
                for target, form in zip((first, second), forms, strict=True)
            ]
            pick = (narrow[0], self._pivoted(narrow[1], (kind, site.head_dim)))
            cost = sum(self.prices.layer(layer) for layer in pick)
            cost += self._product(site, rank, scores=scores)
            options.append(Choice(pick, cost, self.sensitivity.loss(name, tails[rank])))
        return options

    def _limit(self, layer: LayerPlan) -> int:
        """No rank from here on saves anything."""
        shape = layer.shape
        return min(shape) if self._has_pivots(layer.name) else ceil(break_even_rank(*shape))

    def _has_pivots(self, name: str) -> bool:
        """Only where they save what is counted; a convolution has none."""
        if not self.config.pivots or self.config.unit != "parameters":
            return False
        encoder = adapter_for(self.prices.model).encoder(self.prices.model)
        return isinstance(encoder.get_submodule(name), nn.Linear)

    def _pivoted(self, layer: LayerPlan, head: Head | None) -> LayerPlan:
        """The same with every identity that it can have."""
        if not self._has_pivots(layer.name):
            return layer
        inner: tuple[Pivot, ...] = ("inner",) if layer.inner_width is not None else ()
        if head is None or (layer.form == "chain" and (layer.rank or 0) < head[1]):
            return replace(layer, pivots=inner)
        return replace(layer, pivots=(*inner, head[0]), head_dim=head[1])

    def _product(self, site: AttentionSite, rank: int, *, scores: bool) -> float:
        """Of one product with narrower heads: half of both as they were, and the change."""
        whole = site.head_dim
        widths = (rank, whole) if scores else (whole, rank)
        dense = self.prices.products(site, whole, whole)
        return self.prices.products(site, *widths) - dense / 2


def _pairs(first: Options, second: Options, *, cost: float = 0.0, loss: float = 0.0) -> Options:
    """Every option of one layer with every one of another, and what both cost and lose beside."""
    return [
        Choice((*a.pick, *b.pick), a.cost + b.cost + cost, a.loss + b.loss + loss)
        for a, b in product(first, second)
    ]


def _energies(spectrum: AttentionSpectrum, *, scores: bool) -> Tensor:
    """Energy by direction, over all heads."""
    half = spectrum.query_key if scores else spectrum.value_output
    assert half is not None, "a rotated pair has no options by head"
    return half.energies.sum(0)


def _tails(energies: Tensor) -> Sequence[float]:
    """Σ_{i>k} for k = 0 … n."""
    tails: list[float] = energies.flip(0).cumsum(0).flip(0).tolist()
    return [*tails, 0.0]
