"""The calls that most people need: recordings in, a smaller recognizer out; text from it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from liteasr.calibration import Calibration, FrameChoice, calibrate
from liteasr.checkpoint import CompressedModel, load_model
from liteasr.compression import compress_
from liteasr.corpus import Corpus, load_corpus
from liteasr.encoders import encoder_fingerprint
from liteasr.lowrank import Spectrum
from liteasr.plan import (
    PRESETS,
    BudgetConfig,
    RankPlan,
    ThresholdConfig,
    plan_ranks,
    spectra_of,
)
from liteasr.progress import Track, silent
from liteasr.runtime import Transcriber, transcriber_for
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sources import SpeechModel

__all__ = ["compress", "find_sensitivity", "load_transcriber", "sensitivity_file"]

PathLike = str | os.PathLike[str]


def compress(
    model: PathLike | SpeechModel,
    *,
    audio: PathLike | Sequence[PathLike] | None = None,
    keep: float | None = None,
    preset: str | None = None,
    config: ThresholdConfig | BudgetConfig | None = None,
    plan: RankPlan | None = None,
    moments: PathLike | None = None,
    frames: FrameChoice = "all",
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
        keep: Share of the encoder's parameters to keep, such as 0.7: layers are weighed by
            probed sensitivity and all ranks chosen at once.
        preset: The paper's rule: ``acc``, ``plain`` or ``fast``; ``plain`` where nothing else
            is said.
        config: A rule with its settings, in place of ``keep`` or a preset.
        plan: A finished plan, in place of a rule.
        moments: File in which the calibration is kept and found again; sensitivities are kept
            beside it.
        frames: Which encoder positions count.
        samples: Use that many utterances, chosen by ``seed``.
        seed: Chooses the sample.
        track: Shows progress.

    Raises:
        ValueError: More than one of ``keep``, ``preset``, ``config`` and ``plan``; an unknown
            preset; neither audio nor moments; or nothing to probe with.
        LiteASRError: What the steps raise.
    """
    rule = _rule(keep, preset, config, plan)
    speech = model if isinstance(model, SpeechModel) else load_model(model, track=track)
    corpus = None if audio is None else _corpus(audio, samples, seed)
    if corpus is not None:
        calibration = calibrate(speech, corpus, frames=frames, path=moments, track=track)
    elif moments is not None:
        calibration = Calibration.load(moments)
    else:
        raise ValueError("give audio to calibrate with, or moments made before")
    spectra = spectra_of(speech, calibration, track=track)
    if isinstance(rule, RankPlan):
        chosen = rule
    elif isinstance(rule, BudgetConfig):
        weights = find_sensitivity(speech, spectra, corpus, moments, track=track)
        chosen = plan_ranks(speech, spectra, rule, sensitivity=weights)
    else:
        chosen = plan_ranks(speech, spectra, rule)
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


def sensitivity_file(moments: PathLike) -> Path:
    """Where sensitivities are kept: ``m.sensitivity.json`` beside ``m.safetensors``."""
    return Path(moments).with_suffix(".sensitivity.json")


def find_sensitivity(
    speech: SpeechModel,
    spectra: Mapping[str, Spectrum],
    corpus: Corpus | None,
    moments: PathLike | None,
    *,
    track: Track = silent,
) -> Sensitivity:
    """Sensitivities kept beside the moments, or probed with the corpus and kept there.

    Raises:
        ValueError: None are kept and there is no audio to probe with.
        CalibrationError: Those that are kept cannot be read.
    """
    kept = None if moments is None else sensitivity_file(moments)
    if kept is not None and kept.is_file():
        found = Sensitivity.load(kept)
        if found.encoder_sha256 == encoder_fingerprint(speech.model):
            return found
    if corpus is None:
        raise ValueError("a budget probes the layers once: give audio")
    made = probe(speech, spectra, corpus, track=track)
    if kept is not None:
        made.save(kept)
    return made


def _rule(
    keep: float | None,
    preset: str | None,
    config: ThresholdConfig | BudgetConfig | None,
    plan: RankPlan | None,
) -> ThresholdConfig | BudgetConfig | RankPlan:
    given = [choice for choice in (keep, preset, config, plan) if choice is not None]
    if len(given) > 1:
        raise ValueError(f"give one of keep, preset, config and plan, got {len(given)} of them")
    if keep is not None:
        return BudgetConfig(keep=keep)
    if config is not None or plan is not None:
        return config or plan  # type: ignore[return-value]
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    return PRESETS[preset or "plain"]


def _corpus(audio: PathLike | Sequence[PathLike], samples: int | None, seed: int) -> Corpus:
    corpus = load_corpus(audio)
    return corpus if samples is None else corpus.sample(samples, seed=seed)
