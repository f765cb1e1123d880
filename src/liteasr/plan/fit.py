"""Whether a plan, which a person may have written, can be put into effect on an encoder."""

from __future__ import annotations

from collections.abc import Container, Iterable

from torch import nn

from liteasr.encoders import AttentionSite, MlpSite, adapter_for, pooled_from
from liteasr.errors import PlanError
from liteasr.nn import is_projection, sizes_of
from liteasr.plan.rank_plan import LayerPlan, Pivot, RankPlan
from liteasr.sources import SpeechModel

__all__ = ["require_fit"]


def require_fit(speech: SpeechModel, plan: RankPlan) -> None:
    """Check a plan against an encoder before any work is done.

    Raises:
        PlanError: A layer is missing, unknown, compressed already or of another shape; or one
            layer of an attention or of an MLP is reduced jointly and its partner is not; or
            positions are pooled in one of the two only.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    if plan.pooled_from != pooled_from(encoder):
        raise PlanError(
            f"the plan pools positions from block {plan.pooled_from} on and the encoder from "
            f"{pooled_from(encoder)} (None: not at all): calibrate and plan for the same encoder"
        )
    convolutions = {target.name for target in adapter.convolutions(encoder)}
    for layer in plan:
        _require_layer(encoder, layer, convolutions)
    planned = {layer.name for layer in plan}
    if absent := [t.name for t in adapter.targets(encoder) if t.name not in planned]:
        raise PlanError(
            f"the plan says nothing about {_some(absent)}: give them the form 'dense' to keep them"
        )
    partners: set[str] = set()
    for site in adapter.attentions(encoder):
        if not site.rotary:
            _require_pair(plan[site.query], plan[site.key], site, ("heads_out", "heads_out"))
        _require_pair(plan[site.value], plan[site.output], site, ("heads_out", "heads_in"))
        partners |= {site.value, site.output}
        partners |= set() if site.rotary else {site.query, site.key}
    if stray := [layer.name for layer in plan if layer.joint and layer.name not in partners]:
        raise PlanError(f"{_some(stray)} cannot be reduced by head: use the form 'chain'")
    _require_units(adapter.mlps(encoder), plan)
    _require_pivots(encoder, adapter.attentions(encoder), plan)


def _require_pair(
    first: LayerPlan, second: LayerPlan, site: AttentionSite, forms: tuple[str, str]
) -> None:
    if not (first.joint or second.joint):
        return
    same = (first.form, second.form) == forms and first.rank == second.rank
    if not same or {first.head_dim, second.head_dim} != {site.head_dim}:
        raise PlanError(
            f"{first.name} and {second.name} are reduced together: give them the forms "
            f"{forms[0]!r} and {forms[1]!r}, one rank and head_dim {site.head_dim}"
        )


def _require_units(sites: Iterable[MlpSite], plan: RankPlan) -> None:
    """Both layers of an MLP lose the same number of units, and no other layer does."""
    partners: set[str] = set()
    for site in sites:
        partners |= {site.first, site.second}
        first, second = plan[site.first], plan[site.second]
        if not (first.by_unit or second.by_unit):
            continue
        if (first.form, second.form) != ("units_out", "units_in") or first.rank != second.rank:
            raise PlanError(
                f"{first.name} and {second.name} lose units together: give them the forms "
                "'units_out' and 'units_in' and one rank"
            )
    if stray := [layer.name for layer in plan if layer.by_unit and layer.name not in partners]:
        raise PlanError(f"{_some(stray)} cannot lose units: use the form 'chain'")


def _require_pivots(encoder: nn.Module, sites: Iterable[AttentionSite], plan: RankPlan) -> None:
    """Only linear layers have any; by head only outputs, and keys that are not rotated."""
    places: dict[str, tuple[Pivot, int]] = {}
    for site in sites:
        places[site.output] = ("heads_in", site.head_dim)
        if not site.rotary:
            places[site.key] = ("heads_out", site.head_dim)
    for layer in plan:
        by_head = [pivot for pivot in layer.pivots if pivot != "inner"]
        if by_head and places.get(layer.name) != (by_head[0], layer.head_dim):
            raise PlanError(f"{layer.name} cannot have pivots {by_head[0]!r} of {layer.head_dim}")
        if layer.pivots and not isinstance(encoder.get_submodule(layer.name), nn.Linear):
            raise PlanError(f"{layer.name} is no linear layer, so it has no pivots: leave them out")


def _require_layer(encoder: nn.Module, layer: LayerPlan, convolutions: Container[str]) -> None:
    try:
        module = encoder.get_submodule(layer.name)
    except AttributeError as error:
        raise PlanError(f"the plan names {layer.name}, which this encoder does not have") from error
    shape = (layer.in_features, layer.out_features)
    if not is_projection(module) and layer.name not in convolutions:
        raise PlanError(f"{layer.name} is a {type(module).__name__}, not a dense layer")
    if (found := sizes_of(module)) != shape:
        raise PlanError(
            f"{layer.name} is {found[0]} -> {found[1]}, the plan says {shape[0]} -> {shape[1]}"
        )


def _some(names: Iterable[str], shown: int = 3) -> str:
    listed = list(names)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more
