"""Running the encoder over a corpus, in a way that can be interrupted and resumed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from liteasr.atomic import require_writable
from liteasr.audio import is_silent
from liteasr.calibration.artefact import Calibration, FrameChoice, Provenance, Seen, sums
from liteasr.calibration.observation import observing
from liteasr.calibration.places import Places, places_of
from liteasr.calibration.readings import Listen
from liteasr.calibration.resumption import not_counted, resumed, reused
from liteasr.corpus import Corpus, Utterance
from liteasr.corpus.utterance import fingerprint_of
from liteasr.encoders import (
    PADDING_STRIDE,
    adapter_for,
    encoder_fingerprint,
    entering_positions,
    require_dense,
)
from liteasr.errors import CalibrationError, StorageError
from liteasr.lowrank import Gradients, Moments
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
    frames: FrameChoice = "balanced",
    units: bool | None = None,
    readings: bool = True,
    listen: Listen | None = None,
    path: str | os.PathLike[str] | None = None,
    track: Track = silent,
) -> Calibration:
    """Stream unlabelled audio through the encoder and keep the moments of its activations.

    Only the encoder runs, and backwards too in every other window (``readings``), where the
    decoder may be asked what it hears (``listen``). Memory does not grow with the amount of audio.
    With a ``path`` the result is saved there; an interrupted run leaves ``<path>.partial`` and the
    next call with the same model and frames goes on with the utterances that are not counted yet.
    The corpus may have changed, as long as it still holds those that are.

    Args:
        speech: The model, not compressed.
        corpus: Unlabelled utterances of any length.
        frames: ``all`` counts every position the encoder puts out, ``speech`` only those that
            hold audio and not the padding to 30 s, ``balanced`` these and one in four of the
            padding, which the decoder reads too, but less. ``balanced`` won by measurement
            (``benchmarks/README.md``); ``all`` is what the paper's code counts.
        units: Look at the hidden units of MLPs too, so that plans may remove some. Their moments
            are by far the largest: where this is left out they are taken if they need no more
            than 2 GiB, twice that for a moment at every utterance.
        readings: Take the gradients of random readings of the encoder's output too, so that
            budgets can weigh the errors of a layer by what they do there (`Metric`). The paper's
            rule does not need them.
        listen: What `listener_of` gives: errors are then weighed by what they do to the text
            that the model says itself, and not only to the encoder's output.
        path: Where to keep the moments.
        track: Shows progress.

    Raises:
        AudioError: A recording cannot be read.
        CalibrationError: An activation is NaN or Inf; or ``path`` belongs to another task, or was
            begun with a ``listen`` that is left out now.
        PlanError: The encoder is compressed already.
        StorageError: ``path`` cannot be written.
        UnsupportedModelError: No adapter knows the encoder.
    """
    require_dense(speech.model, speech.name)
    digests = corpus.digests()
    heard = readings and listen is not None
    state = fresh = _fresh(speech, corpus, digests, frames, heard)
    partial = None
    if path is not None:
        final = Path(path)
        if final.is_file():
            return reused(fresh, final)
        require_writable(final)
        partial = final.with_name(final.name + ".partial")
        if partial.is_file():
            state = resumed(fresh, partial, digests)
    places = places_of(speech, units, readings, listen, state)
    remaining = not_counted(corpus, digests, state.counted)
    made = _count(speech, places, remaining, state, partial, track)
    _warn_if_short(made)
    if partial is not None:
        made.save(final)
        partial.unlink(missing_ok=True)
    return made


def _count(
    speech: SpeechModel,
    places: Places,
    remaining: list[tuple[Utterance, str]],
    state: Calibration,
    partial: Path | None,
    track: Track,
) -> Calibration:
    """Count utterances one by one; what is counted when something stops us is kept."""
    last_saved = time.monotonic()
    try:
        for utterance, digest in track(remaining, description="Calibrating", total=len(remaining)):
            seen = _observe(speech, places, utterance, state.provenance)
            # one assignment: an interruption finds either the old state or the new one
            state = state.plus(digest, seen)
            if partial is not None and time.monotonic() - last_saved > SAVE_EVERY_S:
                state.save(partial)
                last_saved = time.monotonic()
    except BaseException:
        if partial is not None and state.provenance.utterances:
            _keep(state, partial)
        raise
    return state


def _fresh(
    speech: SpeechModel,
    corpus: Corpus,
    digests: tuple[str, ...],
    frames: FrameChoice,
    heard: bool,
) -> Calibration:
    if frames not in get_args(FrameChoice):
        known = ", ".join(get_args(FrameChoice))
        raise ValueError(f"frames must be one of {known}, got {frames!r}")
    provenance = Provenance(
        model=speech.name,
        encoder_sha256=encoder_fingerprint(speech.model),
        corpus=corpus.origin,
        corpus_sha256=fingerprint_of(digests),
        frames=frames,
        utterances=0,
        corpus_utterances=len(corpus),
        duration_s=0.0,
        audio_positions=0,
        versions={name: version(name) for name in ("liteasr", "torch", "transformers")},
        heard=heard,
    )
    return Calibration(moments={}, provenance=provenance)


def _observe(speech: SpeechModel, places: Places, utterance: Utterance, state: Provenance) -> Seen:
    """Moments of one whole utterance, and how much audio it held."""
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    frames, seen = state.frames, Seen()
    waveform = utterance.load()
    if is_silent(waveform):
        log.warning("%s is silent: it teaches the calibration nothing", utterance.id)
    for place, window in enumerate(adapter.inputs(speech.processor, waveform), state.utterances):
        valid = window.valid_positions
        stride = None if frames == "speech" else PADDING_STRIDE
        leading = None if frames == "all" else valid
        of = entering_positions(adapter, encoder)
        with (
            observing(
                encoder, places.layers, positions=leading, of=of, padding_stride=stride
            ) as layers,
            observing(
                encoder, places.hidden, positions=valid, of=of, padding_stride=stride
            ) as hidden,
        ):
            gradients = places.run(encoder, window, place, utterance.language)
        seen.readings = sums(seen.readings, gradients)
        seen.moments = sums(seen.moments, layers)
        seen.hidden = sums(seen.hidden, hidden)
        seen.duration_s += window.duration_s
        seen.audio_positions += window.valid_positions
    _require_finite(utterance, "activations", {**seen.moments, **seen.hidden})
    _require_finite(utterance, "gradients", seen.readings)
    return seen


def _keep(state: Calibration, partial: Path) -> None:
    """Save what a stopped run has counted; a disk that refuses must not hide why it stopped."""
    done, total = state.provenance.utterances, state.provenance.corpus_utterances
    try:
        state.save(partial)
    except StorageError as error:
        log.warning(
            "stopped after %d of %d utterances, which cannot be kept: %s", done, total, error
        )
    else:
        log.warning(
            "stopped after %d of %d utterances; run again to go on from %s", done, total, partial
        )


def _require_finite(
    utterance: Utterance, what: str, found: Mapping[str, Moments | Gradients]
) -> None:
    for key, part in found.items():
        if not part.is_finite():
            raise CalibrationError(
                f"{utterance.id}: {what} at {key} hold NaN or Inf: check the weights, or load them "
                "in float32"
            )


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
