"""What earlier runs kept beside the moments: eliminations, sensitivities, latencies."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from liteasr.atomic import require_writable
from liteasr.calibration import Calibration
from liteasr.corpus import Corpus
from liteasr.errors import CalibrationError
from liteasr.lowrank import Spectra
from liteasr.plan import (
    BudgetConfig,
    Eliminations,
    LatencyTable,
    RankPlan,
    ThresholdConfig,
    latency_setting,
    measure_latency,
    plan_ranks,
    spectra_of,
    uses_readings,
    uses_units,
)
from liteasr.progress import Track, silent
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sources import SpeechModel

__all__ = [
    "find_latency",
    "find_plan",
    "find_sensitivity",
    "find_spectra",
    "find_spectra_for",
    "latency_file",
    "refinement_state_file",
    "sensitivity_file",
    "units_file",
]

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def latency_file(moments: PathLike) -> Path:
    """Where latencies are kept: ``m.latency.json`` beside ``m.safetensors``."""
    return Path(moments).with_suffix(".latency.json")


def sensitivity_file(moments: PathLike) -> Path:
    """Where sensitivities are kept: ``m.sensitivity.json`` beside ``m.safetensors``."""
    return Path(moments).with_suffix(".sensitivity.json")


def units_file(moments: PathLike) -> Path:
    """Where it is kept which hidden units go first: ``m.units.json`` beside ``m.safetensors``."""
    return Path(moments).with_suffix(".units.json")


def refinement_state_file(output: PathLike) -> Path:
    """Where an unfinished refinement is kept: ``lite.refining.safetensors`` beside ``lite``."""
    place = Path(output).resolve()
    return place.with_name(f"{place.name}.refining.safetensors")


def find_spectra(
    speech: SpeechModel,
    calibration: Calibration,
    moments: PathLike | None,
    *,
    units: bool = True,
    weighed: bool = True,
    track: Track = silent,
) -> Spectra:
    """Spectra, with eliminations kept beside the moments, or made and kept there.

    Those of another calibration, or in another metric, are made anew.

    Raises:
        CalibrationError: What `spectra_of` raises, or what is kept cannot be read.
        StorageError: There is no writing beside the moments.
    """
    task = _task(calibration, weighed=weighed and bool(calibration.readings))
    kept = None if moments is None or not units else units_file(moments)
    known = Eliminations(calibration=task, mlps={})
    if (
        kept is not None
        and kept.is_file()
        and (found := Eliminations.load(kept)).calibration == task
    ):
        known = found
    spectra = spectra_of(
        speech,
        calibration,
        units=units,
        weighed=weighed,
        eliminations=known.mlps,
        track=track,
    )
    made = Eliminations.of(spectra, task)
    if kept is not None and made.mlps and made != known:
        made.save(kept)
    return spectra


def find_spectra_for(
    wanted: ThresholdConfig | BudgetConfig | RankPlan,
    speech: SpeechModel,
    calibration: Calibration,
    moments: PathLike | None,
    *,
    track: Track = silent,
) -> Spectra:
    """What `find_spectra` gives, with what a rule chooses from or a plan was chosen from.

    Raises:
        LiteASRError: What `find_spectra` raises.
    """
    return find_spectra(
        speech,
        calibration,
        moments,
        units=uses_units(wanted),
        weighed=uses_readings(wanted),
        track=track,
    )


def find_plan(
    speech: SpeechModel,
    calibration: Calibration,
    spectra: Spectra,
    rule: ThresholdConfig | BudgetConfig,
    corpus: Corpus | None,
    moments: PathLike | None,
    *,
    track: Track = silent,
) -> RankPlan:
    """Plan by a rule, with what it needs: sensitivities and latencies, found or made.

    Raises:
        ValueError: A budget has no audio to probe with.
        LiteASRError: What `find_sensitivity`, `find_latency` and `plan_ranks` raise.
    """
    weights = latency = None
    if isinstance(rule, BudgetConfig):
        weights = find_sensitivity(speech, calibration, spectra, corpus, moments, track=track)
        if rule.unit == "latency":
            latency = find_latency(speech, moments, track=track)
    return plan_ranks(speech, spectra, rule, sensitivity=weights, latency=latency)


def find_latency(
    speech: SpeechModel, moments: PathLike | None, *, track: Track = silent
) -> LatencyTable:
    """Latencies kept beside the moments, or measured and kept there.

    Those of another device, number of threads, dtype, version or shape are measured anew.

    Raises:
        PlanError: Those that are kept cannot be read.
        StorageError: There is no writing beside the moments.
    """
    kept = None if moments is None else latency_file(moments)
    if kept is not None and kept.is_file():
        found = LatencyTable.load(kept)
        differences = found.setting.differences(latency_setting(speech.model))
        if not differences:
            return found
        log.info("measuring latencies anew: those in %s are of %s", kept, differences)
    if kept is not None:
        require_writable(kept)
    made = measure_latency(speech, track=track)
    if kept is not None:
        made.save(kept)
    return made


def find_sensitivity(
    speech: SpeechModel,
    calibration: Calibration,
    spectra: Spectra,
    corpus: Corpus | None,
    moments: PathLike | None,
    *,
    track: Track = silent,
) -> Sensitivity:
    """Sensitivities kept beside the moments, or probed with the corpus and kept there.

    Those of another calibration, so of other spectra or weights, are probed anew.

    Raises:
        ValueError: None are kept and there is no audio to probe with.
        CalibrationError: Those that are kept cannot be read, or are of another calibration and
            there is no audio to probe with.
        StorageError: There is no writing beside the moments.
    """
    task = _task(calibration, weighed=spectra.weighed)
    kept = None if moments is None else sensitivity_file(moments)
    if kept is not None and kept.is_file():
        if (found := Sensitivity.load(kept)).calibration == task:
            return found
        if corpus is None:
            raise CalibrationError(
                f"{kept} was made for another calibration than {moments} holds: give audio to "
                "probe again"
            )
        log.info("probing anew: %s was made for another calibration", kept)
    if corpus is None:
        raise ValueError("a budget probes the layers once: give audio")
    if kept is not None:
        require_writable(kept)
    made = replace(probe(speech, spectra, corpus, track=track), calibration=task)
    if kept is not None:
        made.save(kept)
    return made


def _task(calibration: Calibration, *, weighed: bool) -> str:
    """What spectra were made of: energies in different metrics are not the same."""
    source = calibration.provenance
    if not weighed:
        return source.task
    return f"{source.task}, weighed by what is heard" if source.heard else f"{source.task}, weighed"
