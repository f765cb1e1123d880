"""Reduced layers without the parameters that nothing needs, in place; what they compute stays.

A chain and an attention are products of matrices, and an invertible map may be put between any two
of them together with its inverse. Each such map is chosen so that one of the two holds an
identity, which is not kept: rank² parameters of a chain, the square of its width for every head
of queries with keys, and again for values with the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from liteasr.encoders import AttentionSite, adapter_for
from liteasr.lowrank import pivoted
from liteasr.nn import Across, LowRankLinear, pivot_weight_, pivots_of, without_pivots
from liteasr.plan import LayerPlan, Pivot

__all__ = ["PivotedLayer", "empty_pivots_", "pivot_", "pivoted_layers", "unpivoted_"]

LEAST = 1e-3  # of the largest singular value: what a head's maps are divided by


@dataclass(frozen=True, kw_only=True, slots=True)
class PivotedLayer:
    """Where identities are in one layer.

    Attributes:
        name: Dotted name inside the encoder.
        pivots: Which ones it has, as in `LayerPlan`.
        heads: How many heads there are, where it has any by head.
        partner: The layer that the maps of the heads go to: queries for keys, values for the
            output.
    """

    name: str
    pivots: tuple[Pivot, ...]
    heads: int = 1
    partner: str | None = None


def pivoted_layers(
    plan: Iterable[LayerPlan], sites: Sequence[AttentionSite]
) -> tuple[PivotedLayer, ...]:
    """Those of a plan.

    Args:
        plan: Of the encoder.
        sites: The attentions that it had before compression.
    """
    partners = _partners(sites)
    return tuple(
        PivotedLayer(
            name=layer.name,
            pivots=layer.pivots,
            heads=layer.heads if layer.head_dim is not None else 1,
            partner=partners.get(layer.name),
        )
        for layer in plan
        if layer.pivots
    )


def pivot_(encoder: nn.Module, layers: Sequence[PivotedLayer]) -> None:
    """Put identities into the layers of a reduced encoder, which computes the same up to rounding.

    For every chain y = U A x: U A = (U T)(T⁻¹ A). For every head: qᵀ k = (Tᵀ q)ᵀ (T⁻¹ k), and
    O v = (O T⁻¹)(T v). T is chosen by `pivoted`, in float64.
    """
    for layer in layers:
        module = encoder.get_submodule(layer.name)
        if "inner" in layer.pivots:
            assert isinstance(module, LowRankLinear)
            _inner_(module, across="out" if "heads_in" in layer.pivots else "in")
    for met in _met_by_head(encoder, layers):
        _heads_(met)


def empty_pivots_(encoder: nn.Module, layers: Sequence[PivotedLayer]) -> None:
    """The same places in layers that hold no values yet, to be filled from a checkpoint."""
    for layer in layers:
        module = encoder.get_submodule(layer.name)
        if "inner" in layer.pivots:
            turned = "heads_in" in layer.pivots
            part = _last(module) if turned else _first(module)
            _empty_(part, 1, across="out" if turned else "in")
        if "heads_in" in layer.pivots:
            _empty_(_first(module), layer.heads, across="out", partner=layer.partner)
        elif "heads_out" in layer.pivots:
            _empty_(_last(module), layer.heads, across="in", partner=layer.partner)


@contextmanager
def unpivoted_(model: Any, *, keep: bool) -> Iterator[None]:
    """An encoder with whole, balanced weights inside, which trainings and coarse numbers want.

    Its own layers are put back as they were, also where an error or an interruption ends it.

    Args:
        model: The reduced recognizer.
        keep: Whether its weights stay what they became inside instead, and are pivoted again.
    """
    encoder = adapter_for(model).encoder(model)
    layers = _pivoted_now(encoder)
    whole = {name: module for name, module in encoder.named_modules() if pivots_of(module)}
    for name, module in whole.items():
        encoder.set_submodule(name, without_pivots(module))
    own = _weights(encoder, layers)
    balance_(encoder, layers)
    done = False
    try:
        yield
        done = keep
    finally:
        if not done:
            for module, weight, bias in own:
                module.weight, module.bias = weight, bias
            for name, module in whole.items():
                encoder.set_submodule(name, module)
    if done:
        pivot_(encoder, layers)


def balance_(encoder: nn.Module, layers: Sequence[PivotedLayer]) -> None:
    """Turn every free map so that inner channels are principal ones; the output stays.

    Weights that hold an identity are far larger on one side than on the other, and what enters the
    second side is a sum of large numbers that cancel: a step of one learning rate is none for the
    first and too much for the second, and eight bits lose far more. With the SVD U A = P S Rᵀ a
    chain becomes P (S Rᵀ), as the closed form has it; in every head queries and keys, or values and
    output, get the roots of S each.
    """
    for met in _met_by_head(encoder, layers):
        _balance_(met)
    for layer in layers:
        module = encoder.get_submodule(layer.name)
        if isinstance(module, LowRankLinear):
            basis, triangle = torch.linalg.qr(_exact(module.up.weight))
            inner = triangle @ _exact(module.down.weight)
            left, singular, right = torch.linalg.svd(inner, full_matrices=False)
            _set_(module.up, basis @ left)
            _set_(module.down, singular[:, None] * right)


def _balance_(met: _Met) -> None:
    """With own A = Rᵀ Qᵀ, Aᵀ B = Q (R B) = (Q P) S Vᵀ in every head."""
    weight = _exact(met.own.weight)
    mine = _by_head(weight.T if met.reads else weight, met.heads)
    theirs = _by_head(_exact(met.partner.weight), met.heads)
    basis, triangle = torch.linalg.qr(mine.mT)
    other = torch.linalg.qr(theirs.mT).R  # small: the SVD of the whole is slow where that is wide
    left, singular, _ = torch.linalg.svd(triangle @ other.mT)
    sizes = left.new_zeros(left.shape[:2])  # a partner of lower rank has fewer
    sizes[:, : singular.shape[1]] = singular
    sizes = sizes.clamp_min(LEAST * float(singular.max())).sqrt().unsqueeze(-1)
    maps = (left.mT @ triangle) / sizes
    _set_(met.partner, (maps @ theirs).flatten(0, 1), _mapped(maps, met.partner.bias, met.heads))
    new = ((basis @ left).mT * sizes).flatten(0, 1)
    if met.reads:
        _set_(met.own, new.T)
    else:
        _set_(met.own, new, _mapped(torch.linalg.pinv(maps).mT, met.own.bias, met.heads))


def _weights(
    encoder: nn.Module, layers: Sequence[PivotedLayer]
) -> list[tuple[nn.Linear, Any, Any]]:
    """The linear layers that `balance_` changes, with what they hold."""
    names = {name for layer in layers for name in (layer.name, layer.partner) if name is not None}
    modules = [m for name in names for m in encoder.get_submodule(name).modules()]
    return [(m, m.weight, m.bias) for m in modules if isinstance(m, nn.Linear)]


def _pivoted_now(encoder: nn.Module) -> tuple[PivotedLayer, ...]:
    """Where an encoder has identities."""
    found: dict[str, PivotedLayer] = {}
    for name, module in encoder.named_modules():
        if (pivots := pivots_of(module)) is None:
            continue
        parent = name.rpartition(".")[0]
        owner = parent if isinstance(encoder.get_submodule(parent), LowRankLinear) else name
        here = found.get(owner, PivotedLayer(name=owner, pivots=()))
        if pivots.partner is None:
            found[owner] = replace(here, pivots=("inner", *here.pivots))
            continue
        kind: Pivot = "heads_out" if pivots.across == "in" else "heads_in"
        found[owner] = replace(
            here, pivots=(*here.pivots, kind), heads=len(pivots.place), partner=pivots.partner
        )
    return tuple(found.values())


def _partners(sites: Sequence[AttentionSite]) -> dict[str, str]:
    """The layer whose output meets that of another: in scores, or as what is weighed."""
    return {s.key: s.query for s in sites} | {s.output: s.value for s in sites}


def _first(module: nn.Module) -> Any:
    return module.down if isinstance(module, LowRankLinear) else module


def _last(module: nn.Module) -> Any:
    return module.up if isinstance(module, LowRankLinear) else module


def _inner_(chain: LowRankLinear, *, across: Across) -> None:
    """U A = (U T)(T⁻¹ A), with the identity in A, or (U T⁻¹)(T A) with it in U."""
    down, up = _exact(chain.down.weight), _exact(chain.up.weight)
    if across == "in":
        made = pivoted(down)
        down, up = made.weight, up @ made.basis
    else:
        made = pivoted(up.T)
        down, up = made.basis.T @ down, made.weight.T
    _set_(chain.down, down)
    _set_(chain.up, up)
    pivot_weight_(chain.down if across == "in" else chain.up, made.place[None], across=across)


class _Met(NamedTuple):
    """Two layers that meet in every head: keys with queries, or an output with values.

    Attributes:
        own: The one that pivots: of keys or of the output.
        partner: The other one.
        name: Of the partner.
        heads: How many heads there are.
        reads: Whether the first reads what the second gives.
    """

    own: nn.Linear
    partner: nn.Linear
    name: str
    heads: int
    reads: bool


def _met_by_head(encoder: nn.Module, layers: Sequence[PivotedLayer]) -> Iterator[_Met]:
    for layer in layers:
        if "heads_in" in layer.pivots or "heads_out" in layer.pivots:
            assert layer.partner is not None
            module, partner = map(encoder.get_submodule, (layer.name, layer.partner))
            reads = "heads_in" in layer.pivots
            own = _first(module) if reads else _last(module)
            yield _Met(own, _last(partner), layer.partner, layer.heads, reads)


def _heads_(met: _Met) -> None:
    """qᵀ k = (Tᵀ q)ᵀ (T⁻¹ k), or O v = (O T⁻ᵀ)(Tᵀ v), in every head; the identity is in the own."""
    own, partner, name, heads, reads = met
    weight = _exact(own.weight)
    made = pivoted(_by_head(weight.T if reads else weight, heads))
    new, maps = made.weight.flatten(0, 1), made.basis.mT
    if reads:
        _set_(own, new.T)
    else:
        _set_(own, new, _mapped(torch.linalg.pinv(made.basis), own.bias, heads))
    theirs = _by_head(_exact(partner.weight), heads)
    _set_(partner, (maps @ theirs).flatten(0, 1), _mapped(maps, partner.bias, heads))
    pivot_weight_(own, made.place, across="out" if reads else "in", partner=name)


def _by_head(rows: Tensor, heads: int) -> Tensor:
    return rows.reshape(heads, -1, *rows.shape[1:])


def _mapped(maps: Tensor, bias: Tensor | None, heads: int) -> Tensor | None:
    if bias is None:
        return None
    return (maps @ _by_head(_exact(bias), heads).unsqueeze(-1)).flatten()


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64)


def _set_(layer: nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    """Other numbers of the same shapes; parameters of their own, as tied ones must not change."""
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype).contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(layer.bias.dtype))


def _empty_(layer: nn.Linear, groups: int, *, across: Across, partner: str | None = None) -> None:
    wide = layer.in_features if across == "in" else layer.out_features
    place = torch.arange(wide).expand(groups, wide)
    pivot_weight_(layer, place, across=across, partner=partner)
