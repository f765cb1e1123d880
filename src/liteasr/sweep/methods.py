"""Ways of choosing ranks, all brought to the same encoder size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from liteasr.encoders import encoder_parameters
from liteasr.lowrank import Spectra
from liteasr.plan import BudgetConfig, Costs, RankPlan, ThresholdConfig, plan_ranks
from liteasr.sensitivity import Sensitivity
from liteasr.sources import SpeechModel

__all__ = ["BY_UNIT", "METHODS", "Method", "plan_by_method", "plan_of_size"]

Method = Literal["paper", "budget", "joint", "units", "refined"]
METHODS: tuple[Method, ...] = get_args(Method)
BY_UNIT: frozenset[Method] = frozenset({"units", "refined"})
MOST_MISSED = 0.5  # share of the variance; no budget in use asks for less


def plan_by_method(
    method: Method, keep: float, speech: SpeechModel, spectra: Spectra, sensitivity: Sensitivity
) -> RankPlan:
    """Plan for a share of the encoder's parameters.

    ``paper`` is the threshold rule, its thresholds bisected to the size, where MLP layers miss a
    tenth of what attention layers miss, as in its default 0.99:0.999. ``budget`` weighs layers
    by sensitivity and makes chains alone; ``joint`` may also reduce attentions by head; ``units``
    may also remove hidden units, which is the budget's default; ``refined`` is planned as
    ``units`` and trained afterwards.

    Raises:
        PlanError: No ranks are that small.
    """
    if method == "paper":

        def plan_at(missed: float) -> RankPlan:
            config = ThresholdConfig(attention=1 - missed, mlp=1 - missed / 10)
            return plan_ranks(speech, spectra, config)

        return plan_of_size(speech, plan_at, keep * encoder_parameters(speech.model))
    config = BudgetConfig(keep=keep, joint=method != "budget", units=method in BY_UNIT)
    return plan_ranks(speech, spectra, config, sensitivity=sensitivity)


def plan_of_size(
    speech: SpeechModel, plan_at: Callable[[float], RankPlan], parameters: float
) -> RankPlan:
    """Bisect the share of variance that a plan misses, in [0, 0.5], to an encoder's size.

    The plan is the largest that is not above the size; where even half of the variance is too
    large, it is that one.
    """
    costs = Costs(unit="parameters", model=speech.model)
    low, high = 0.0, MOST_MISSED
    for _ in range(30):
        middle = (low + high) / 2
        too_large = costs.of(plan_at(middle)) > parameters
        low, high = (middle, high) if too_large else (low, middle)
    return plan_at(high)
