"""All ranks at once, under a budget of encoder parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from liteasr.encoders import Target, adapter_for, encoder_parameters
from liteasr.errors import PlanError
from liteasr.lowrank import Choice, Spectrum, allocate, break_even_rank
from liteasr.plan.rank_plan import LayerPlan
from liteasr.sensitivity import Sensitivity

__all__ = ["BudgetConfig", "plan_by_budget"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetConfig:
    """How much of the encoder may be left.

    Attributes:
        keep: Share of the encoder's parameters, positions left out, in (0, 1].
        multiple_of: Ranks are multiples of this.
        version: Version of this format.
    """

    keep: float
    multiple_of: int = 16
    version: int = 1

    def __post_init__(self) -> None:
        if not 0.0 < self.keep <= 1.0:
            raise ValueError(f"keep must be in (0, 1], got {self.keep}")
        if self.multiple_of < 1:
            raise ValueError(f"multiple_of must be at least 1, got {self.multiple_of}")


def plan_by_budget(
    model: Any,
    targets: Iterable[Target],
    spectra: Mapping[str, Spectrum],
    sensitivity: Sensitivity,
    config: BudgetConfig,
) -> tuple[LayerPlan, ...]:
    """Minimise Σ_l w_l tail_l(k_l) subject to a budget of parameters.

    w_l is the probed sensitivity, tail_l(k) = Σ_{i>k} λ_i the energy that rank k loses. What
    cannot be reduced (convolutions, norms, biases) is paid from the same budget.

    Raises:
        PlanError: The budget is below the smallest encoder that ranks can make.
    """
    listed = list(targets)
    encoder = adapter_for(model).encoder(model)
    whole = encoder_parameters(model)
    fixed = whole - sum(target.parameter_count for target in listed)
    choices = []
    for target in listed:
        gains_bias = encoder.get_submodule(target.name).bias is None
        extra = target.out_features if gains_bias else 0
        weight = sensitivity.weights[target.name]
        choices.append(_choices(target, spectra[target.name], weight, extra, config.multiple_of))
    try:
        chosen = allocate(choices, config.keep * whole - fixed)
    except ValueError:
        least = fixed + sum(min(option.cost for option in options) for options in choices)
        raise PlanError(
            f"keep={config.keep:g} asks for {config.keep * whole / 1e6:.2f} M parameters; rank "
            f"{config.multiple_of} everywhere leaves {least / 1e6:.2f} M ({least / whole:.1%})"
        ) from None
    return tuple(
        _layer(target, choice, spectra[target.name])
        for target, choice in zip(listed, chosen, strict=True)
    )


def _choices(
    target: Target, spectrum: Spectrum, weight: float, extra: int, multiple_of: int
) -> list[Choice]:
    dense = Choice(None, float(target.parameter_count), 0.0)
    limit = ceil(break_even_rank(target.in_features, target.out_features))
    tail = spectrum.variances.flip(0).cumsum(0).flip(0)
    chains = [
        Choice(
            rank,
            float(rank * (target.in_features + target.out_features) + extra),
            weight * float(tail[rank]),
        )
        for rank in range(multiple_of, limit, multiple_of)
    ]
    return [*(chain for chain in chains if chain.cost < dense.cost), dense]


def _layer(target: Target, choice: Choice, spectrum: Spectrum) -> LayerPlan:
    dense = choice.rank is None
    return LayerPlan(
        name=target.name,
        form="dense" if dense else "chain",
        rank=choice.rank,
        in_features=target.in_features,
        out_features=target.out_features,
        reason="every reduction costs more than it saves elsewhere" if dense else "budget",
        explained=1.0 if choice.rank is None else spectrum.explained(choice.rank),
    )
