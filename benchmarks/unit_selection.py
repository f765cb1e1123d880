"""Fewer hidden units in an MLP, the rest refitted: no extra matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import liteasr
from liteasr.encoders import Observation, adapter_for, run_encoder
from liteasr.lowrank import Affine, Choice, Moments, Spectra, allocate
from liteasr.plan import BudgetConfig, Costs, LayerPlan
from liteasr.plan.budget import _Menu  # the experiment adds an option to what plans choose from
from liteasr.sensitivity import Sensitivity

__all__ = ["Elimination", "Units", "eliminate", "hidden_moments", "mlp_options", "with_units"]

POSITION_STRIDE = 3


@dataclass(frozen=True)
class Units:
    """A plan's choice for an MLP: how many hidden units stay."""

    block: int
    kept: int


@dataclass(frozen=True)
class Elimination:
    """In which order hidden units go, and what that costs.

    Attributes:
        order: Units from the first that goes to the last that stays, [hidden].
        losses: E‖Δy‖² once that many units are gone and the rest is refitted, by number of units
            that are left.
    """

    order: list[int]
    losses: dict[int, float]


def hidden_moments(dense: liteasr.SpeechModel, corpus: liteasr.Corpus) -> dict[str, Moments]:
    """Moments of what enters the second layer of every MLP."""
    adapter = adapter_for(dense.model)
    encoder = adapter.encoder(dense.model)
    places = [Observation(f"{block}.fc2", "input") for block in adapter.blocks(encoder)]
    found: dict[str, Moments] = {}

    def hook(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0][0, ::POSITION_STRIDE]
            moments = found.setdefault(name, Moments.empty(rows.shape[-1]))
            moments.update_(rows)

        return record

    handles = [
        encoder.get_submodule(place.module).register_forward_pre_hook(hook(place.module))
        for place in places
    ]
    try:
        for utterance in corpus:
            run_encoder(encoder, next(adapter.inputs(dense.processor, utterance.load())))
    finally:
        for handle in handles:
            handle.remove()
    return found


def eliminate(
    weight: Tensor, moments: Moments, *, step: int = 8, ridge: float = 1e-4
) -> Elimination:
    """Remove hidden units a few at a time: those whose loss the others make up for best.

    For y = W a + b with H = Cov(a) + ε I, unit j costs ‖B_j‖² / (H⁻¹)_jj where B are the weights
    fitted to the units that are left; then B and H⁻¹ lose j (optimal brain surgeon). ε is
    ridge · tr H / hidden.
    """
    matrix = weight.detach().double().clone()
    covariance = moments.covariance
    damping = ridge * covariance.diagonal().mean()
    inverse = torch.linalg.inv(covariance + damping * torch.eye(len(covariance)).double())
    left = torch.arange(len(covariance))
    order: list[int] = []
    losses, lost = {len(left): 0.0}, 0.0
    while len(left) > step:
        costs = matrix.square().sum(0) / inverse.diagonal()
        gone = costs.argsort()[:step]
        mask = torch.ones(len(left), dtype=torch.bool)
        mask[gone] = False
        rows = inverse[gone]
        solved = torch.linalg.solve(rows[:, gone], rows[:, mask])
        lost += float(
            (matrix[:, gone] @ torch.linalg.solve(rows[:, gone], matrix[:, gone].T)).trace()
        )
        matrix = matrix[:, mask] - matrix[:, gone] @ solved
        inverse = inverse[mask][:, mask] - rows[:, mask].T @ solved
        order.extend(left[gone].tolist())
        left = left[mask]
        losses[len(left)] = lost
    return Elimination([*order, *left.tolist()], losses)


def refit(layer: Affine, moments: Moments, kept: Tensor, *, ridge: float = 1e-4) -> Affine:
    """The second layer of an MLP for the units that are kept: least squares, mean and all."""
    covariance = moments.covariance
    damping = ridge * covariance.diagonal().mean() * torch.eye(len(covariance)).double()
    weight = layer.weight.detach().double()
    cross = weight @ (covariance + damping)[:, kept]
    fitted = torch.linalg.solve((covariance + damping)[kept][:, kept], cross.T).T
    mean = weight @ moments.mean + layer.bias.detach().double()
    return Affine(fitted.float(), (mean - fitted @ moments.mean[kept]).float())


def mlp_options(
    block: int, elimination: Elimination, width: int, hidden: int, sensitivity: Sensitivity
) -> list[Choice[Any]]:
    """Every number of units, with its cost in parameters and what it is expected to lose."""
    return [
        Choice(
            (Units(block, kept),),
            float(kept * (2 * width + 1) + width),
            sensitivity.loss(f"layers.{block}.fc2", loss),
        )
        for kept, loss in elimination.losses.items()
        if kept < hidden and kept % 16 == 0
    ]


def with_units(
    dense: liteasr.SpeechModel,
    spectra: Spectra,
    sensitivity: Sensitivity,
    eliminations: Sequence[Elimination],
    budget: float,
    *,
    attention: bool = True,
    chains: bool = True,
    units: bool = True,
) -> tuple[dict[str, LayerPlan], list[Units]]:
    """The best choice of forms for ``budget`` encoder parameters, MLPs by units among them."""
    adapter = adapter_for(dense.model)
    encoder = adapter.encoder(dense.model)
    prices = Costs(unit="parameters", model=dense.model)
    menu = _Menu(prices, spectra, sensitivity, BudgetConfig(keep=1.0))
    targets = {t.name: t for t in adapter.targets(encoder)}
    parts: list[list[Choice[Any]]] = []
    for site in adapter.attentions(encoder):
        for first, second in ((site.query, site.key), (site.value, site.output)):
            pair = menu.pair(site, targets[first], targets[second])
            parts.append(pair if attention else pair[:1])
    for block, elimination in enumerate(eliminations):
        names = (f"layers.{block}.fc1", f"layers.{block}.fc2")
        one, two = (menu.single(targets[name]) for name in names)
        if not chains:
            one, two = one[:1], two[:1]
        options = [
            Choice((*a.pick, *b.pick), a.cost + b.cost, a.loss + b.loss) for a in one for b in two
        ]
        if units:
            shape = targets[names[0]]
            options += mlp_options(
                block, elimination, shape.in_features, shape.out_features, sensitivity
            )
        parts.append(options)
    picks = [pick for choice in allocate(parts, budget - prices.fixed) for pick in choice.pick]
    chosen = [pick for pick in picks if isinstance(pick, Units)]
    layers = {pick.name: pick for pick in picks if isinstance(pick, LayerPlan)}
    for one in chosen:  # their layers are replaced by hand
        for name in (f"layers.{one.block}.fc1", f"layers.{one.block}.fc2"):
            layers[name] = LayerPlan.of(targets[name], reason="units")
    return {name: layers[name] for name in targets}, chosen


def select_(
    speech: liteasr.SpeechModel, chosen: Units, elimination: Elimination, moments: Moments
) -> None:
    """Give an MLP its smaller layers."""
    encoder: Any = adapter_for(speech.model).encoder(speech.model)
    layer = encoder.layers[chosen.block]
    kept = torch.tensor(sorted(elimination.order[-chosen.kept :]))
    second = refit(Affine(layer.fc2.weight, layer.fc2.bias), moments, kept)
    first = Affine(layer.fc1.weight.detach()[kept], layer.fc1.bias.detach()[kept])
    for name, affine in (("fc1", first), ("fc2", second)):
        made = nn.Linear(*affine.weight.T.shape)
        made.weight, made.bias = nn.Parameter(affine.weight), nn.Parameter(affine.bias)
        setattr(layer, name, made)
