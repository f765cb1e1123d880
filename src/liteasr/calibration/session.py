"""Running the encoder over a corpus, in a way that can be interrupted and resumed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from liteasr.audio import is_silent
from liteasr.calibration.artefact import Calibration, FrameChoice, Provenance
from liteasr.calibration.observation import observing
from liteasr.corpus import Corpus, Utterance
from liteasr.encoders import adapter_for, encoder_fingerprint, run_encoder
from liteasr.errors import CalibrationError
from liteasr.lowrank import Moments
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["FRAMES_PER_WIDTH", "calibrate"]

log = logging.getLogger(__name__)

FRAMES_PER_WIDTH = 10
SAVE_EVERY_S = 60.0


def calibrate(
    speech: SpeechModel,
    corpus: Corpus,
    *,
    frames: FrameChoice = "all",
    path: str | os.PathLike[str] | None = None,
    track: Track = silent,
) -> Calibration:
    """Stream unlabelled audio through the encoder and keep the moments of its activations.

    Only the encoder runs. Memory does not grow with the amount of audio. With a ``path`` the
    result is saved there; an interrupted run leaves ``<path>.partial`` and the next call with
    the same model, corpus and frames goes on after the last whole utterance.

    Args:
        speech: The model, not compressed.
        corpus: Unlabelled utterances of any length.
        frames: ``all`` counts every position the encoder puts out, ``speech`` only those that
            hold audio and not the padding to 30 s. ``all`` won by measurement
            (``benchmarks/README.md``): the decoder reads the padding too.
        path: Where to keep the moments.
        track: Shows progress.

    Raises:
        AudioError: A recording cannot be read.
        CalibrationError: An activation is NaN or Inf; or ``path`` belongs to another task.
        UnsupportedModelError: No adapter knows the encoder.
    """
    fresh = _fresh(speech, corpus, frames)
    final = None if path is None else Path(path)
    state = fresh if final is None else _resumed(fresh, final)
    if state.complete and state is not fresh:
        log.info("reusing the moments in %s", final)
        return state
    partial = None if final is None else final.with_name(final.name + ".partial")
    last_saved = time.monotonic()
    remaining = islice(corpus, state.provenance.utterances, None)
    try:
        for utterance in track(
            remaining,
            description="Calibrating",
            total=len(corpus) - state.provenance.utterances,
        ):
            moments, counted = _observe(speech, utterance, frames)
            # one assignment: an interruption finds either the old state or the new one
            state = state.plus(moments, **counted)
            if partial is not None and time.monotonic() - last_saved > SAVE_EVERY_S:
                state.save(partial)
                last_saved = time.monotonic()
    except BaseException:
        if partial is not None and state.provenance.utterances:
            state.save(partial)
            log.warning(
                "stopped after %d of %d utterances; run again to go on from %s",
                state.provenance.utterances,
                len(corpus),
                partial,
            )
        raise
    _warn_if_short(state)
    if final is not None and partial is not None:
        state.save(final)
        partial.unlink(missing_ok=True)
    return state


def _fresh(speech: SpeechModel, corpus: Corpus, frames: FrameChoice) -> Calibration:
    if frames not in ("speech", "all"):
        raise ValueError(f"frames must be 'speech' or 'all', got {frames!r}")
    provenance = Provenance(
        model=speech.name,
        encoder_sha256=encoder_fingerprint(speech.model),
        corpus=corpus.origin,
        corpus_sha256=corpus.fingerprint(),
        frames=frames,
        utterances=0,
        corpus_utterances=len(corpus),
        duration_s=0.0,
        audio_positions=0,
        versions={name: version(name) for name in ("liteasr", "torch", "transformers")},
    )
    return Calibration(moments={}, provenance=provenance)


def _resumed(fresh: Calibration, final: Path) -> Calibration:
    """What an earlier call with the same task left behind, or a fresh start."""
    for candidate in (final, final.with_name(final.name + ".partial")):
        if candidate.is_file():
            found = Calibration.load(candidate)
            if not found.provenance.same_task(fresh.provenance):
                raise CalibrationError(
                    f"{candidate} holds moments of another model, corpus or choice of frames "
                    f"({found.provenance.model}, {found.provenance.corpus}, "
                    f"{found.provenance.frames}): delete it or choose another file"
                )
            return found
    return fresh


def _observe(
    speech: SpeechModel, utterance: Utterance, frames: FrameChoice
) -> tuple[dict[str, Moments], dict[str, Any]]:
    """Moments of one whole utterance, and how much audio it held."""
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    observations = [target.observation for target in adapter.targets(encoder)]
    merged: dict[str, Moments] = {}
    counted: dict[str, Any] = {"duration_s": 0.0, "audio_positions": 0}
    waveform = utterance.load()
    if is_silent(waveform):
        log.warning("%s is silent: it teaches the calibration nothing", utterance.id)
    for window in adapter.inputs(speech.processor, waveform):
        positions = window.valid_positions if frames == "speech" else None
        with observing(encoder, observations, positions=positions) as moments:
            run_encoder(encoder, window)
        merged = {key: merged[key] + m if key in merged else m for key, m in moments.items()}
        counted["duration_s"] += window.duration_s
        counted["audio_positions"] += window.valid_positions
    for key, found in _not_finite(merged):
        raise CalibrationError(
            f"{utterance.id}: activations at {key} hold NaN or Inf "
            f"(mean {float(found.mean.mean())}): check the weights, or load them in float32"
        )
    return merged, counted


def _not_finite(moments: dict[str, Moments]) -> Iterator[tuple[str, Moments]]:
    return ((key, found) for key, found in moments.items() if not found.is_finite())


def _warn_if_short(state: Calibration) -> None:
    """Ten frames a dimension are needed before a covariance can be trusted; padding is none."""
    width = max(moments.dim for moments in state.moments.values())
    frames = state.provenance.audio_positions
    if frames < FRAMES_PER_WIDTH * width:
        log.warning(
            "calibration has %d frames of audio (%.0f s), under %d x the width %d: "
            "the spectrum is a guess; add audio until there are at least %d frames",
            frames,
            state.provenance.duration_s,
            FRAMES_PER_WIDTH,
            width,
            FRAMES_PER_WIDTH * width,
        )
