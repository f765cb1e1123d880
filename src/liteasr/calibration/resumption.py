"""What an earlier calibration left behind, and what there is left to count."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

from liteasr.calibration.artefact import Calibration
from liteasr.corpus import Corpus, Utterance
from liteasr.errors import CalibrationError

__all__ = ["not_counted", "resumed", "reused"]

log = logging.getLogger(__name__)


def reused(fresh: Calibration, final: Path) -> Calibration:
    """What an earlier call with the same task finished.

    Raises:
        CalibrationError: The file belongs to another task, or is not finished.
    """
    found = Calibration.load(final)
    if not found.complete or not found.provenance.same_task(fresh.provenance):
        raise _another(found, final)
    log.info("reusing the moments in %s", final)
    if fresh.provenance.heard and not found.provenance.heard:
        log.warning("%s was made without the decoder: delete it to start anew", final)
    return found


def resumed(fresh: Calibration, partial: Path, digests: tuple[str, ...]) -> Calibration:
    """What an earlier call left behind, told of the corpus as it is now.

    Raises:
        CalibrationError: The file belongs to another model or choice of frames, or has counted
            audio that the corpus does not hold.
    """
    found = Calibration.load(partial)
    if not found.provenance.same_method(fresh.provenance):
        raise _another(found, partial)
    done = found.provenance.utterances
    if gone := done - (Counter(found.counted) & Counter(digests)).total():
        raise CalibrationError(
            f"{partial} has counted {done} recordings and {gone} of them are not in "
            f"{fresh.provenance.corpus} any more: put them back, or delete the file to start anew"
        )
    provenance = replace(
        fresh.provenance,
        utterances=done,
        duration_s=found.provenance.duration_s,
        audio_positions=found.provenance.audio_positions,
        heard=found.provenance.heard,
    )
    return replace(found, provenance=provenance)


def not_counted(
    corpus: Corpus, digests: tuple[str, ...], counted: tuple[str, ...]
) -> list[tuple[Utterance, str]]:
    """The utterances that are left, with their digests; a recording held twice is counted twice."""
    done = Counter(counted)
    remaining = []
    for utterance, digest in zip(corpus, digests, strict=True):
        if done[digest]:
            done[digest] -= 1
        else:
            remaining.append((utterance, digest))
    return remaining


def _another(found: Calibration, path: Path) -> CalibrationError:
    source = found.provenance
    return CalibrationError(
        f"{path} holds moments of another model, corpus or choice of frames "
        f"({source.model}, {source.corpus}, {source.frames}): ask for that (--frames "
        f"{source.frames}), delete it or choose another file"
    )
