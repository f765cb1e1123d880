"""The calls that most people need: recordings in, a smaller recognizer out; text from it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from liteasr.calibration import Calibration, FrameChoice, calibrate
from liteasr.checkpoint import CompressedModel, load_model
from liteasr.compression import compress_
from liteasr.corpus import load_corpus
from liteasr.plan import PRESETS, RankPlan, ThresholdConfig, plan_ranks, spectra_of
from liteasr.progress import Track, silent
from liteasr.runtime import Transcriber, transcriber_for
from liteasr.sources import SpeechModel

__all__ = ["compress", "load_transcriber"]

PathLike = str | os.PathLike[str]


def compress(
    model: PathLike | SpeechModel,
    *,
    audio: PathLike | Sequence[PathLike] | None = None,
    preset: str | None = None,
    config: ThresholdConfig | None = None,
    plan: RankPlan | None = None,
    moments: PathLike | None = None,
    frames: FrameChoice = "all",
    samples: int | None = None,
    seed: int = 0,
    track: Track = silent,
) -> CompressedModel:
    """Calibrate, plan and compress in one call.

    ::

        lite = liteasr.compress("whisper-base", audio="recordings/", preset="plain")
        lite.save("whisper-base-lite")

    Args:
        model: What `load_model` opens, or an opened model, which is changed in place.
        audio: Unlabelled speech: a folder, a manifest, a file, ``hf:...``, or several.
            May be left out when ``moments`` holds a finished calibration.
        preset: ``acc``, ``plain`` or ``fast``; ``plain`` where nothing else is said.
        config: A rule with its settings, in place of a preset.
        plan: A finished plan, in place of a rule.
        moments: File in which the calibration is kept and found again.
        frames: Which encoder positions count.
        samples: Use that many utterances, chosen by ``seed``.
        seed: Chooses the sample.
        track: Shows progress.

    Raises:
        ValueError: More than one of ``preset``, ``config`` and ``plan``; an unknown preset; or
            neither audio nor moments.
        LiteASRError: What the steps raise.
    """
    rule = _rule(preset, config, plan)
    speech = model if isinstance(model, SpeechModel) else load_model(model, track=track)
    calibration = _calibration(speech, audio, moments, frames, samples, seed, track)
    spectra = spectra_of(speech, calibration, track=track)
    chosen = rule if isinstance(rule, RankPlan) else plan_ranks(speech, spectra, rule)
    report = compress_(speech, chosen, spectra, track=track)
    return CompressedModel(
        speech=speech, plan=chosen, report=report, calibration=calibration.provenance
    )


def load_transcriber(ref: PathLike, *, track: Track = silent) -> Transcriber:
    """Open any model that `load_model` opens, ready to transcribe.

    Raises:
        LiteASRError: What `load_model` raises.
    """
    return transcriber_for(load_model(ref, track=track))


def _rule(
    preset: str | None, config: ThresholdConfig | None, plan: RankPlan | None
) -> ThresholdConfig | RankPlan:
    given = [choice for choice in (preset, config, plan) if choice is not None]
    if len(given) > 1:
        raise ValueError(f"give one of preset, config and plan, got {len(given)} of them")
    if config is not None or plan is not None:
        return config or plan  # type: ignore[return-value]
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    return PRESETS[preset or "plain"]


def _calibration(
    speech: SpeechModel,
    audio: PathLike | Sequence[PathLike] | None,
    moments: PathLike | None,
    frames: FrameChoice,
    samples: int | None,
    seed: int,
    track: Track,
) -> Calibration:
    if audio is None:
        if moments is None:
            raise ValueError("give audio to calibrate with, or moments made before")
        return Calibration.load(moments)
    corpus = load_corpus(audio)
    if samples is not None:
        corpus = corpus.sample(samples, seed=seed)
    return calibrate(speech, corpus, frames=frames, path=moments, track=track)
