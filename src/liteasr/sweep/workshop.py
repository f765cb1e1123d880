"""Making the models of a sweep, one row each."""

from __future__ import annotations

import logging
import re
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from liteasr.calibration import Calibration
from liteasr.checkpoint import CompressedModel
from liteasr.compression import compress_
from liteasr.corpus import Corpus
from liteasr.encoders import encoder_parameters
from liteasr.errors import PlanError
from liteasr.evaluation import DenseReference, measure_divergence
from liteasr.lowrank import Spectra
from liteasr.plan import Costs, RankPlan
from liteasr.progress import Track
from liteasr.refinement import RefinementReport, refine_
from liteasr.sensitivity import Sensitivity
from liteasr.sources import SpeechModel
from liteasr.sweep.config import SweepConfig
from liteasr.sweep.methods import Method, plan_by_method
from liteasr.sweep.results import DENSE, SweepResults, SweepRow

__all__ = ["Workshop"]

log = logging.getLogger(__name__)

UNITS: tuple[Literal["parameters", "flops"], ...] = ("parameters", "flops")


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """All that a row is made from."""

    speech: SpeechModel
    audio: Corpus
    place: Path
    config: SweepConfig
    calibration: Calibration
    spectra: Spectra
    plain: Spectra
    sensitivity: Sensitivity
    reference: DenseReference
    track: Track

    def rows(self, results: SweepResults) -> SweepResults:
        """Add the rows that are missing, and keep each as it comes."""
        if results.row(DENSE) is None:
            results = results.plus(self._row(DENSE, DENSE, 1.0, self.speech, None))
            results.save(self.place)
        for method in self.config.methods:
            for keep in self.config.keep:
                label = f"{method} {keep:g}"
                if results.row(label) is not None:
                    continue
                try:
                    results = results.plus(self._made(label, method, keep))
                except PlanError as error:
                    log.warning("%s: %s", label, error)
                    results = replace(results, skipped={**results.skipped, label: str(error)})
                results.save(self.place)
        return results

    def _made(self, label: str, method: Method, keep: float) -> SweepRow:
        spectra = self.plain if method == "paper" else self.spectra
        plan = plan_by_method(method, keep, self.speech, spectra, self.sensitivity)
        reduced = replace(deepcopy(self.speech), name=f"{self.speech.name}, {label}")
        report = compress_(reduced, plan, spectra, track=self.track)
        folder = self.place / "checkpoints" / re.sub(r"[^\w.]+", "-", label)
        learned = None
        if method == "refined":
            state = folder.with_name(f"{folder.name}.refining.safetensors")
            learned = refine_(
                reduced,
                self.speech,
                self.audio,
                self.config.refinement,
                path=state,
                track=self.track,
            )
        lite = CompressedModel(
            speech=replace(reduced, name=self.speech.name),
            plan=plan,
            report=report,
            calibration=self.calibration.provenance,
            refinement=learned,
        )
        lite.save(folder, overwrite=True)
        row = self._row(label, method, keep, reduced, plan, learned)
        return replace(row, checkpoint=folder.relative_to(self.place).as_posix())

    def _row(
        self,
        label: str,
        method: str,
        keep: float,
        model: SpeechModel,
        plan: RankPlan | None,
        learned: RefinementReport | None = None,
    ) -> SweepRow:
        divergence = measure_divergence(self.reference, model, track=self.track)
        costs = {unit: Costs(unit=unit, model=self.speech.model) for unit in UNITS}
        kept = {
            unit: 1.0 if plan is None else cost.of(plan) / cost.dense
            for unit, cost in costs.items()
        }
        return SweepRow(
            label=label,
            method=method,
            keep=keep,
            encoder_parameters=encoder_parameters(model.model),
            kept_parameters=kept["parameters"],
            kept_flops=kept["flops"],
            flops=kept["flops"] * costs["flops"].dense,
            mean_kl=divergence.mean_kl,
            kl_interval=divergence.interval,
            agreement=divergence.agreement,
            plan=plan,
            refinement=learned,
        )
