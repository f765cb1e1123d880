"""One call that turns spectra into a plan, whatever the rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from liteasr.encoders import adapter_for
from liteasr.lowrank import Spectrum
from liteasr.plan.rank_plan import RankPlan
from liteasr.plan.threshold import ThresholdConfig, plan_by_threshold
from liteasr.sources import SpeechModel

__all__ = ["plan_ranks"]


def plan_ranks(
    speech: SpeechModel, spectra: Mapping[str, Spectrum], config: ThresholdConfig
) -> RankPlan:
    """Choose a form and a rank for every target of an encoder.

    Args:
        speech: The model, not compressed.
        spectra: What `spectra_of` gave.
        config: The rule and its settings; its type selects the rule.

    Raises:
        UnsupportedModelError: No adapter knows the encoder.
    """
    adapter = adapter_for(speech.model)
    targets = adapter.targets(adapter.encoder(speech.model))
    return RankPlan(
        model=speech.name,
        rule="threshold",
        options=asdict(config),
        layers=plan_by_threshold(targets, spectra, config),
    )
