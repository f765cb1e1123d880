"""The calls that most people need: recordings in, a smaller recognizer out; text from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from liteasr.artefacts import find_plan, find_spectra_for
from liteasr.calibration import Calibration, FrameChoice, calibrate
from liteasr.checkpoint import CompressedModel, load_model
from liteasr.compression import compress_
from liteasr.corpus import load_corpus
from liteasr.encoders import adopt_encoder_, encoder_fingerprint, pooling_, require_dense
from liteasr.errors import RefinementError
from liteasr.plan import (
    BudgetConfig,
    RankPlan,
    ThresholdConfig,
    require_fit,
    rule_from,
    uses_readings,
    uses_units,
)
from liteasr.progress import Track, silent
from liteasr.refinement import RefinementConfig, refine_
from liteasr.runtime import listener_of
from liteasr.sources import SpeechModel
from liteasr.sources.hub import is_hub_id

__all__ = ["compress", "refine"]

PathLike = str | os.PathLike[str]


def compress(
    model: PathLike | SpeechModel,
    *,
    audio: PathLike | Sequence[PathLike] | None = None,
    keep: float | None = None,
    flops: float | None = None,
    speedup: float | None = None,
    preset: str | None = None,
    config: ThresholdConfig | BudgetConfig | None = None,
    plan: RankPlan | None = None,
    moments: PathLike | None = None,
    refinement: RefinementConfig | None = None,
    state: PathLike | None = None,
    frames: FrameChoice = "balanced",
    units: bool | None = None,
    pool_from: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    track: Track = silent,
) -> CompressedModel:
    """Calibrate, plan and compress in one call.

    ::

        lite = liteasr.compress("whisper-base", audio="recordings/", keep=0.8)
        lite.save("whisper-base-lite")

    Args:
        model: What `load_model` opens, or an opened model, which is changed in place.
        audio: Unlabelled speech: a folder, a manifest, a file, ``hf:...``, or several.
            May be left out when ``moments`` holds a finished calibration.
        keep: Share of the encoder's parameters to keep: layers are weighed by probed
            sensitivity and all ranks chosen at once. 0.7 where no rule is named.
        flops: Share of the encoder's FLOPs to keep, the same way.
        speedup: How many times as fast the encoder shall be on this machine, the same way: its
            parts are timed once. The plan's options say what is expected.
        preset: The paper's rule: ``acc``, ``plain`` or ``fast``.
        config: A rule with its settings.
        plan: A finished plan, in place of a rule.
        moments: File in which the calibration is kept and found again; what plans need more is
            kept beside it.
        refinement: Train the reduced encoder on the same audio afterwards, see `refine_`.
        state: File that an interrupted refinement goes on from.
        frames: Which encoder positions count.
        units: Whether MLPs may lose hidden units under a budget, see `calibrate`; where there is
            room for it if left out.
        pool_from: Average pairs of positions before that block, see `pool_positions_`; a finished
            plan says so itself.
        samples: Use that many utterances, chosen by ``seed``.
        seed: Chooses the sample.
        track: Shows progress.

    Raises:
        ValueError: More than one rule, or one out of range; neither audio nor moments; or
            nothing to probe or to refine with.
        LiteASRError: What the steps raise.
    """
    named = any(choice is not None for choice in (keep, flops, speedup, preset, config))
    if plan is not None and named:
        raise ValueError("give a plan or a rule to make one by, not both")
    if plan is not None and pool_from is not None:
        raise ValueError("a plan says where positions are pooled: leave pool_from out")
    rule = rule_from(keep=keep, flops=flops, speedup=speedup, preset=preset, config=config)
    if units is False and isinstance(rule, BudgetConfig):
        rule = replace(rule, units=False)
    speech = model if isinstance(model, SpeechModel) else load_model(model, track=track)
    require_dense(speech.model, speech.name)
    wanted = rule if plan is None else plan
    original = None if refinement is None else deepcopy(speech)
    if refinement is not None and audio is None:
        raise ValueError("refinement trains on audio: give audio")
    with pooling_(speech.model, pool_from if plan is None else plan.pooled_from):
        if plan is not None:
            require_fit(speech, plan)
        corpus = None if audio is None else load_corpus(audio, samples=samples, seed=seed)
        if corpus is not None:
            looks = _looks_at_units(units, wanted, kept=moments is not None)
            reads = moments is not None or uses_readings(wanted)
            calibration = calibrate(
                speech,
                corpus,
                frames=frames,
                units=looks,
                readings=reads,
                listen=listener_of(speech),
                path=moments,
                track=track,
            )
        elif moments is not None:
            calibration = Calibration.load(moments)
        else:
            raise ValueError("give audio to calibrate with, or moments made before")
        spectra = find_spectra_for(wanted, speech, calibration, moments, track=track)
        chosen = plan
        if chosen is None:
            chosen = find_plan(speech, calibration, spectra, rule, corpus, moments, track=track)
        report = compress_(speech, chosen, spectra, track=track)
    learned = None
    if original is not None and corpus is not None:
        learned = refine_(speech, original, corpus, refinement, path=state, track=track)
    return CompressedModel(
        speech=speech,
        plan=chosen,
        report=report,
        calibration=calibration.provenance,
        refinement=learned,
    )


def refine(
    compressed: CompressedModel,
    *,
    audio: PathLike | Sequence[PathLike],
    original: PathLike | SpeechModel | None = None,
    config: RefinementConfig | None = None,
    state: PathLike | None = None,
    samples: int | None = None,
    seed: int = 0,
    track: Track = silent,
) -> CompressedModel:
    """Train the encoder of a compressed model, in place, see `refine_`.

    Args:
        compressed: What `compress` or `load` gave.
        audio: Unlabelled speech, as for `compress`.
        original: The model it was made from; found by name where left out.
        config: Settings.
        state: File that an interrupted run goes on from.
        samples: Use that many utterances, chosen by ``seed``.
        seed: Chooses the sample.
        track: Shows progress.

    Raises:
        PlanError: The original is compressed itself, such as a published model that does not
            say what it was made from.
        RefinementError: The original is another model than the one that was compressed.
        LiteASRError: What the steps raise.
    """
    if isinstance(original, SpeechModel):
        teacher = original
    else:
        device = compressed.speech.model.device
        teacher = load_model(original or _origin_of(compressed), device=device, track=track)
        adopt_encoder_(teacher.model, compressed.speech.model)
    require_dense(teacher.model, teacher.name)
    made_from = compressed.calibration and compressed.calibration.encoder_sha256
    if made_from and made_from != encoder_fingerprint(
        teacher.model, pool_from=compressed.plan.pooled_from
    ):
        raise RefinementError(
            f"{teacher.name} is not the model that was compressed: its encoder has other weights"
        )
    corpus = load_corpus(audio, samples=samples, seed=seed)
    report = refine_(compressed.speech, teacher, corpus, config, path=state, track=track)
    return replace(compressed, refinement=report)


def _looks_at_units(
    units: bool | None, wanted: ThresholdConfig | BudgetConfig | RankPlan, *, kept: bool
) -> bool | None:
    """As asked for; always where a plan removes some, never for a rule that would not use them."""
    if units is None and isinstance(wanted, RankPlan) and uses_units(wanted):
        return True
    return units if kept or uses_units(wanted) else False


def _origin_of(compressed: CompressedModel) -> str:
    """A path or hub id that the weights came from, or the name of a bundled model."""
    origin, name = compressed.speech.origin, compressed.plan.model
    return origin if Path(origin).exists() or is_hub_id(origin) else name
