"""Budgets times methods: every model is made, compared with the dense one, kept and scored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from liteasr.artefacts import find_sensitivity, find_spectra
from liteasr.calibration import calibrate
from liteasr.corpus import Corpus, require_disjoint
from liteasr.encoders import encoder_fingerprint
from liteasr.errors import EvaluationError
from liteasr.evaluation import (
    Candidate,
    EvaluationMatrix,
    Rules,
    dense_reference,
    environment,
    evaluate_all,
    identity_of,
)
from liteasr.lowrank import Spectra
from liteasr.plan import spectra_of
from liteasr.progress import Track, silent
from liteasr.runtime import TranscriptionOptions, listener_of, load_transcriber, transcriber_for
from liteasr.sources import SpeechModel
from liteasr.sweep.config import SweepConfig
from liteasr.sweep.methods import BY_UNIT
from liteasr.sweep.results import DENSE, SWEEP_NAME, SweepResults
from liteasr.sweep.workshop import Workshop

__all__ = ["sweep"]

GREEDY = TranscriptionOptions(temperature=(0.0,), timestamps=False)
COMPONENTS = 48  # of each spectrum, that are kept for pictures


def sweep(
    speech: SpeechModel,
    audio: Corpus,
    held_out: Corpus,
    directory: str | os.PathLike[str],
    config: SweepConfig | None = None,
    *,
    corpora: Mapping[str, Corpus] | None = None,
    rules: Rules = "whisper",
    track: Track = silent,
) -> tuple[SweepResults, EvaluationMatrix | None]:
    """Make a model of every method at every size from one calibration, and compare them.

    The directory keeps moments, sensitivities, checkpoints, ``sweep.json`` and hypotheses; an
    interrupted sweep goes on from there, and other sizes or methods add rows.

    Args:
        speech: The dense model; not changed.
        audio: Unlabelled speech that calibrates (and refines).
        held_out: Unlabelled speech that divergences are measured on.
        directory: Of the results.
        config: Which models.
        corpora: Speech with text by label, to score all models on.
        rules: How texts are normalized.
        track: Shows progress.

    Raises:
        CorpusError: A clip that calibrates would be scored.
        EvaluationError: The directory holds a sweep of other audio or another model.
        LiteASRError: What the steps raise.
    """
    config = config or SweepConfig()
    place = Path(directory)
    for corpus in (held_out, *(corpora or {}).values()):
        require_disjoint(audio, corpus)
    held_out = held_out.sample(min(config.divergence_clips, len(held_out)))
    results = _begun(place, speech, _facts(speech, audio, held_out))
    moments = place / "moments.safetensors"
    calibration = calibrate(speech, audio, listen=listener_of(speech), path=moments, track=track)
    by_unit = any(method in BY_UNIT for method in config.methods)
    spectra = find_spectra(speech, calibration, moments, units=by_unit, track=track)
    plain = spectra_of(speech, calibration, units=False, weighed=False, track=track)
    weights = find_sensitivity(
        speech, calibration, spectra, audio.sample(len(audio)), moments, track=track
    )
    made = Workshop(
        speech=speech,
        audio=audio,
        place=place,
        config=config,
        calibration=calibration,
        spectra=spectra,
        plain=plain,
        sensitivity=weights,
        reference=dense_reference(speech, held_out, track=track),
        track=track,
    )
    results = made.rows(replace(results, spectra=_curves(plain)))
    return results, _scored(speech, results, place, corpora, rules, track)


def _begun(place: Path, speech: SpeechModel, facts: dict[str, Any]) -> SweepResults:
    """What an earlier run left, if it was about the same."""
    if not (place / SWEEP_NAME).is_file():
        return SweepResults(model=speech.name, facts=facts, environment=environment())
    found = SweepResults.load(place)
    plain = json.loads(json.dumps(facts))
    if changed := sorted(name for name in plain if found.facts.get(name) != plain[name]):
        raise EvaluationError(
            f"{place / SWEEP_NAME} is about other conditions ({', '.join(changed)} differ): choose "
            "another directory, or delete this one"
        )
    return replace(found, environment=environment())


def _facts(speech: SpeechModel, audio: Corpus, held_out: Corpus) -> dict[str, Any]:
    return {
        "encoder_sha256": encoder_fingerprint(speech.model),
        "calibration": {"utterances": len(audio), "sha256": audio.fingerprint()},
        "divergence": {"utterances": len(held_out), "sha256": held_out.fingerprint()},
        "decoding": "greedy, no fallback, no timestamps, language as the corpus says",
    }


def _scored(
    speech: SpeechModel,
    results: SweepResults,
    place: Path,
    corpora: Mapping[str, Corpus] | None,
    rules: Rules,
    track: Track,
) -> EvaluationMatrix | None:
    if not corpora:
        return None
    dense = Candidate(
        label=DENSE,
        open=lambda: transcriber_for(speech),
        identity=encoder_fingerprint(speech.model),
    )
    others = [
        Candidate(
            label=row.label,
            open=partial(
                load_transcriber, place / row.checkpoint, device=speech.model.device, track=track
            ),
            identity=identity_of(place / row.checkpoint),
        )
        for row in results.rows
        if row.checkpoint is not None
    ]
    return evaluate_all(
        [dense, *others], corpora, GREEDY, rules=rules, directory=place, track=track
    )


def _curves(spectra: Spectra) -> dict[str, list[list[float]]]:
    """Component and share of the variance, at about evenly spaced orders of magnitude."""
    curves = {}
    for name, spectrum in spectra.items():
        count = len(spectrum.variances)
        places = sorted({round(count ** (k / (COMPONENTS - 1))) for k in range(COMPONENTS)})
        total = max(spectrum.total_variance, 1e-300)
        shares = (spectrum.variances / total).tolist()
        curves[name] = [[place, shares[place - 1]] for place in places]
    return curves
