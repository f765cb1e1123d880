"""Reduced layers without the parameters that nothing needs, in place; what they compute stays.

A chain and an attention are products of matrices, and an invertible map may be put between any two
of them together with its inverse. Each such map is chosen so that one of the two holds an
identity, which is not kept: rank² parameters of a chain, the square of its width for every head
of queries with keys, and again for values with the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from liteasr.encoders import AttentionSite, adapter_for
from liteasr.lowrank import pivoted
from liteasr.nn import Across, LowRankLinear, Pivots, pivot_weight_, pivots_of, without_pivots
from liteasr.plan import LayerPlan, Pivot

__all__ = ["PivotedLayer", "empty_pivots_", "pivot_", "pivoted_layers", "unpivoted_"]


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
    for own, partner, heads, reads in _met_by_head(encoder, layers):
        _heads_(own, partner, heads, reads=reads)


def empty_pivots_(encoder: nn.Module, layers: Sequence[PivotedLayer]) -> None:
    """The same places in layers that hold no values yet, to be filled from a checkpoint."""
    for layer in layers:
        module = encoder.get_submodule(layer.name)
        if "inner" in layer.pivots:
            turned = "heads_in" in layer.pivots
            part = _last(module) if turned else _first(module)
            _empty_(part, 1, across="out" if turned else "in")
        if "heads_in" in layer.pivots:
            _empty_(_first(module), layer.heads, across="out")
        elif "heads_out" in layer.pivots:
            _empty_(_last(module), layer.heads, across="in")


@contextmanager
def unpivoted_(model: Any, original: Any) -> Iterator[None]:
    """An encoder with whole weights inside, balanced for a training, and pivoted afterwards.

    Where an error or an interruption ends it, its own layers are put back as they were.

    Args:
        model: The reduced recognizer.
        original: The dense one, which knows all attentions.
    """
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    theirs = adapter.encoder(original)
    names = [target.name for target in adapter.targets(theirs)]
    layers = _pivoted_now(encoder, names, adapter.attentions(theirs))
    whole = {name: module for name, module in encoder.named_modules() if pivots_of(module)}
    for name, module in whole.items():
        encoder.set_submodule(name, without_pivots(module))
    own = _weights(encoder, layers)
    balance_(encoder, layers)
    try:
        yield
    except BaseException:
        for module, weight, bias in own:
            module.weight, module.bias = weight, bias
        for name, module in whole.items():
            encoder.set_submodule(name, module)
        raise
    pivot_(encoder, layers)


def balance_(encoder: nn.Module, layers: Sequence[PivotedLayer]) -> None:
    """Give both sides of every free map about the same size; the encoder computes what it did.

    Weights that hold an identity are far larger on one side than on the other, and a step of one
    learning rate is then none for the first and too much for the second. In every head queries and
    keys, or values and output, get the singular values of their product in equal parts; in every
    chain the second factor gets orthonormal columns.
    """
    for own, partner, heads, reads in _met_by_head(encoder, layers):
        _balance_(own, partner, heads, reads=reads)
    for layer in layers:
        module = encoder.get_submodule(layer.name)
        if isinstance(module, LowRankLinear):
            basis, triangle = torch.linalg.qr(_exact(module.up.weight))
            _set_(module.up, basis)
            _set_(module.down, triangle @ _exact(module.down.weight))


def _balance_(own: nn.Linear, partner: nn.Linear, heads: int, *, reads: bool) -> None:
    """Orthogonal rows in every head of keys, or of what ``reads`` values, as long as the others.

    With A = Rᵀ Qᵀ the weight of a head, Aᵀ B = (Qᵀ / s)ᵀ (s R B), where s makes both sides of one
    size.
    """
    weight = _exact(own.weight)
    mine = _by_head(weight.T if reads else weight, heads)
    theirs = _by_head(_exact(partner.weight), heads)
    basis, triangle = torch.linalg.qr(mine.mT)
    turned = triangle @ theirs
    size = (basis.flatten(1).norm(dim=1) / turned.flatten(1).norm(dim=1)).sqrt()[:, None, None]
    maps = size * triangle
    _set_(partner, (maps @ theirs).flatten(0, 1), _mapped(maps, partner.bias, heads))
    new = (basis.mT / size).flatten(0, 1)
    if reads:
        _set_(own, new.T)
    else:
        _set_(own, new, _mapped(torch.linalg.pinv(maps).mT, own.bias, heads))


def _weights(
    encoder: nn.Module, layers: Sequence[PivotedLayer]
) -> list[tuple[nn.Linear, Any, Any]]:
    """The linear layers that `balance_` changes, with what they hold."""
    names = {name for layer in layers for name in (layer.name, layer.partner) if name is not None}
    modules = [m for name in names for m in encoder.get_submodule(name).modules()]
    return [(m, m.weight, m.bias) for m in modules if isinstance(m, nn.Linear)]


def _pivoted_now(
    encoder: nn.Module, names: Iterable[str], sites: Sequence[AttentionSite]
) -> tuple[PivotedLayer, ...]:
    """Where an encoder has identities."""
    partners = _partners(sites)
    found = []
    for name in names:
        module = encoder.get_submodule(name)
        first, last = pivots_of(_first(module)), pivots_of(_last(module))
        kinds: list[tuple[Pivot, Pivots | None, str]] = [
            ("heads_in", first, "out"),
            ("heads_out", last, "in"),
        ]
        if isinstance(module, LowRankLinear):
            kinds += [("inner", first, "in"), ("inner", last, "out")]
        here = {kind: p for kind, p, across in kinds if p is not None and p.across == across}
        by_head = [len(p.place) for kind, p in here.items() if kind != "inner"]
        if here:
            found.append(
                PivotedLayer(
                    name=name,
                    pivots=tuple(here),
                    heads=by_head[0] if by_head else 1,
                    partner=partners.get(name),
                )
            )
    return tuple(found)


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


def _met_by_head(
    encoder: nn.Module, layers: Sequence[PivotedLayer]
) -> Iterator[tuple[nn.Linear, nn.Linear, int, bool]]:
    """Keys with queries, outputs with values: both layers, the heads, whether the first reads."""
    for layer in layers:
        if "heads_in" in layer.pivots or "heads_out" in layer.pivots:
            assert layer.partner is not None
            module, partner = map(encoder.get_submodule, (layer.name, layer.partner))
            reads = "heads_in" in layer.pivots
            yield _first(module) if reads else _last(module), _last(partner), layer.heads, reads


def _heads_(own: nn.Linear, partner: nn.Linear, heads: int, *, reads: bool) -> None:
    """qᵀ k = (Tᵀ q)ᵀ (T⁻¹ k), or O v = (O T⁻ᵀ)(Tᵀ v), in every head; the identity is in ``own``."""
    weight = _exact(own.weight)
    made = pivoted(_by_head(weight.T if reads else weight, heads))
    new, maps = made.weight.flatten(0, 1), made.basis.mT
    if reads:
        _set_(own, new.T)
    else:
        _set_(own, new, _mapped(torch.linalg.pinv(made.basis), own.bias, heads))
    theirs = _by_head(_exact(partner.weight), heads)
    _set_(partner, (maps @ theirs).flatten(0, 1), _mapped(maps, partner.bias, heads))
    pivot_weight_(own, made.place, across="out" if reads else "in")


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


def _empty_(layer: nn.Linear, groups: int, *, across: Across) -> None:
    wide = layer.in_features if across == "in" else layer.out_features
    place = torch.arange(wide).expand(groups, wide)
    pivot_weight_(layer, place, across=across)
