"""Fewer hidden units in an MLP, the rest refitted: no extra matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import liteasr
from liteasr.encoders import adapter_for, run_encoder
from liteasr.lowrank import Affine, Choice, Moments, Spectra, allocate
from liteasr.plan import BudgetConfig, Costs, LayerPlan
from liteasr.plan.budget import _Menu  # the experiment adds an option to what plans choose from
from liteasr.sensitivity import Sensitivity

__all__ = [
    "Elimination",
    "Hidden",
    "Units",
    "best_elimination",
    "eliminate",
    "hidden_moments",
    "mlp_options",
    "refit",
    "select_",
    "with_units",
]

RIDGE, RIDGES = 1e-3, (1e-3, 1e-2)
PADDING_STRIDE = 4  # about as many positions of padding are counted as of speech


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
        losses: E‖Δy‖² once the rest is refitted, by number of units that are left.
    """

    order: list[int]
    losses: dict[int, float]


@dataclass(frozen=True)
class Hidden:
    """Moments of what enters the second layer of an MLP, by half of the audio."""

    speech: tuple[Moments, Moments]
    padding: tuple[Moments, Moments]

    def balanced(self, *halves: int) -> Moments:
        """What units are fitted to: as much speech as padding."""
        parts = [part[half] for part in (self.speech, self.padding) for half in halves]
        return sum(parts[1:], parts[0])

    def all(self, half: int) -> Moments:
        """What losses are counted on: all positions, as in calibration."""
        speech, padding = self.speech[half], self.padding[half]
        return Moments(
            speech.count + PADDING_STRIDE * padding.count,
            speech.total + PADDING_STRIDE * padding.total,
            speech.products + PADDING_STRIDE * padding.products,
        )


@torch.inference_mode()
def hidden_moments(dense: liteasr.SpeechModel, corpus: liteasr.Corpus) -> dict[str, Hidden]:
    """Moments of what enters the second layer of every MLP."""
    adapter = adapter_for(dense.model)
    encoder: Any = adapter.encoder(dense.model)
    names = [f"{block}.fc2" for block in adapter.blocks(encoder)]
    widths = [encoder.get_submodule(name).in_features for name in names]

    def empty(width: int) -> tuple[Moments, Moments]:
        return Moments.empty(width), Moments.empty(width)

    found = {n: Hidden(empty(w), empty(w)) for n, w in zip(names, widths, strict=True)}
    for index, utterance in enumerate(corpus):
        window = next(adapter.inputs(dense.processor, utterance.load()))
        with _inputs(encoder, names) as seen:
            run_encoder(encoder, window)
        for name, x in seen.items():
            found[name].speech[index % 2].update_(x[0, : window.valid_positions])
            found[name].padding[index % 2].update_(x[0, window.valid_positions :: PADDING_STRIDE])
    return found


@contextmanager
def _inputs(encoder: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    seen: dict[str, Tensor] = {}

    def hook(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[name] = inputs[0]

    handles = [encoder.get_submodule(n).register_forward_pre_hook(partial(hook, n)) for n in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def eliminate(
    weight: Tensor, hidden: Hidden, *, step: int = 16, ridge: float = RIDGE
) -> Elimination:
    """Remove hidden units a few at a time: those whose loss the others make up for best.

    For y = W a + b with H = Cov(a) + ε I, unit j costs ‖B_j‖² / (H⁻¹)_jj where B are the weights
    fitted to the units that are left; then B and H⁻¹ lose j (optimal brain surgeon). ε is
    ridge · tr H / hidden. Fitted on one half of the audio, and losses counted on the other: on its
    own half a fit of so many weights looks far better than it is.
    """
    whole = weight.detach().double()
    matrix, covariance = whole.clone(), hidden.balanced(0).covariance
    unseen = hidden.all(1).covariance
    damping = ridge * covariance.diagonal().mean()
    inverse = torch.linalg.inv(covariance + damping * torch.eye(len(covariance)).double())
    left = torch.arange(len(covariance))
    order: list[int] = []
    losses = {len(left): 0.0}
    while len(left) > step:
        gone = (matrix.square().sum(0) / inverse.diagonal()).argsort()[:step]
        mask = torch.ones(len(left), dtype=torch.bool)
        mask[gone] = False
        rows = inverse[gone]
        solved = torch.linalg.solve(rows[:, gone], rows[:, mask])
        matrix = matrix[:, mask] - matrix[:, gone] @ solved
        inverse = inverse[mask][:, mask] - rows[:, mask].T @ solved
        order.extend(left[gone].tolist())
        left = left[mask]
        if len(left) % (4 * step) == 0:
            missed = whole.clone()
            missed[:, left] -= matrix
            losses[len(left)] = float(((missed @ unseen) * missed).sum())
    return Elimination([*order, *left.tolist()], losses)


def best_elimination(weight: Tensor, hidden: Hidden) -> Elimination:
    """With the ridge that serves the unseen half best."""
    tried = [eliminate(weight, hidden, ridge=ridge) for ridge in RIDGES]
    return min(tried, key=lambda one: sum(one.losses.values()))


def refit(layer: Affine, moments: Moments, kept: Tensor, *, ridge: float = RIDGE) -> Affine:
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
        if kept < hidden
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
