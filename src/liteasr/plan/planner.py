"""One call that turns spectra into a plan, whatever the rule."""

from __future__ import annotations

from dataclasses import asdict, replace

from liteasr.encoders import adapter_for, encoder_fingerprint, pooled_from
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Spectra
from liteasr.plan.budget import BudgetConfig, plan_by_budget
from liteasr.plan.cost import Costs, Prices
from liteasr.plan.latency import Latencies, LatencyTable
from liteasr.plan.rank_plan import RankPlan
from liteasr.plan.stopwatch import latency_setting
from liteasr.plan.threshold import ThresholdConfig, plan_by_threshold
from liteasr.sensitivity import Sensitivity
from liteasr.sources import SpeechModel

__all__ = ["plan_ranks"]


def plan_ranks(
    speech: SpeechModel,
    spectra: Spectra,
    config: ThresholdConfig | BudgetConfig,
    *,
    sensitivity: Sensitivity | None = None,
    latency: LatencyTable | None = None,
) -> RankPlan:
    """Choose a form and a rank for every target of an encoder.

    Args:
        speech: The model, not compressed.
        spectra: What `spectra_of` gave.
        config: The rule and its settings; its type selects the rule.
        sensitivity: What `probe` gave; needed by a budget.
        latency: What `measure_latency` gave; needed by a budget of latency. The plan's options
            then hold what it is expected to reach, in milliseconds, and on which machine.

    Raises:
        CalibrationError: The sensitivities belong to another encoder.
        PlanError: The budget cannot be met, or comes without sensitivities; or without
            latencies, with those of an encoder of other shapes, or where positions are pooled;
            or thresholds meet weighed spectra.
        UnsupportedModelError: No adapter knows the encoder.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    targets, pooled = adapter.targets(encoder), pooled_from(encoder)
    if isinstance(config, ThresholdConfig):
        if spectra.weighed:
            raise PlanError(
                "the paper's thresholds are shares of variances as they are: make the spectra with "
                "spectra_of(..., weighed=False)"
            )
        layers = plan_by_threshold(targets, spectra, config)
        return RankPlan(
            model=speech.name, rule="threshold", options=asdict(config), layers=layers,
            pooled_from=pooled,
        )  # fmt: skip
    measured = _checked(speech, sensitivity)
    prices = _prices(speech, config, latency)
    layers = plan_by_budget(prices, spectra, measured, config)
    options = {**asdict(config), "weighed": spectra.weighed}
    plan = RankPlan(
        model=speech.name, rule="budget", options=options, layers=layers, pooled_from=pooled
    )
    return replace(plan, options={**plan.options, **prices.promise(plan)})


def _prices(speech: SpeechModel, config: BudgetConfig, latency: LatencyTable | None) -> Prices:
    if config.unit != "latency":
        return Costs(unit=config.unit, model=speech.model)
    if pooled_from(adapter_for(speech.model).encoder(speech.model)) is not None:
        raise PlanError("a speed-up does not know pooled positions: give a share of FLOPs instead")
    if latency is None:
        raise PlanError(
            "a speed-up is planned by measured times: pass latency=measure_latency(...)"
        )
    if latency.setting.shapes != latency_setting(speech.model).shapes:
        raise PlanError(
            f"the latencies were measured on {latency.model}, and {speech.name} has other shapes: "
            "measure this model"
        )
    return Latencies(model=speech.model, table=latency)


def _checked(speech: SpeechModel, sensitivity: Sensitivity | None) -> Sensitivity:
    if sensitivity is None:
        raise PlanError("a budget needs to know which layers matter: pass sensitivity=probe(...)")
    if sensitivity.encoder_sha256 != encoder_fingerprint(speech.model):
        raise CalibrationError(
            f"the sensitivities were measured on {sensitivity.model}, not on the weights of "
            f"{speech.name}: probe this model"
        )
    return sensitivity
