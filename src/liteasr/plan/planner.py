"""One call that turns spectra into a plan, whatever the rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from liteasr.encoders import adapter_for, encoder_fingerprint
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Spectrum
from liteasr.plan.budget import BudgetConfig, plan_by_budget
from liteasr.plan.rank_plan import RankPlan
from liteasr.plan.threshold import ThresholdConfig, plan_by_threshold
from liteasr.sensitivity import Sensitivity
from liteasr.sources import SpeechModel

__all__ = ["plan_ranks"]


def plan_ranks(
    speech: SpeechModel,
    spectra: Mapping[str, Spectrum],
    config: ThresholdConfig | BudgetConfig,
    *,
    sensitivity: Sensitivity | None = None,
) -> RankPlan:
    """Choose a form and a rank for every target of an encoder.

    Args:
        speech: The model, not compressed.
        spectra: What `spectra_of` gave.
        config: The rule and its settings; its type selects the rule.
        sensitivity: What `probe` gave; needed by a budget.

    Raises:
        CalibrationError: The sensitivities belong to another encoder.
        PlanError: The budget cannot be met, or comes without sensitivities.
        UnsupportedModelError: No adapter knows the encoder.
    """
    adapter = adapter_for(speech.model)
    targets = adapter.targets(adapter.encoder(speech.model))
    if isinstance(config, ThresholdConfig):
        rule, layers = "threshold", plan_by_threshold(targets, spectra, config)
    else:
        measured = _checked(speech, sensitivity)
        rule = "budget"
        layers = plan_by_budget(speech.model, targets, spectra, measured, config)
    return RankPlan(model=speech.name, rule=rule, options=asdict(config), layers=layers)


def _checked(speech: SpeechModel, sensitivity: Sensitivity | None) -> Sensitivity:
    if sensitivity is None:
        raise PlanError("a budget needs to know which layers matter: pass sensitivity=probe(...)")
    if sensitivity.encoder_sha256 != encoder_fingerprint(speech.model):
        raise CalibrationError(
            f"the sensitivities were measured on {sensitivity.model}, not on the weights of "
            f"{speech.name}: probe this model"
        )
    return sensitivity
