"""The audio of a refinement: listened to once, divided into what trains and what checks."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from liteasr.corpus import Corpus
from liteasr.encoders import adapter_for
from liteasr.errors import UnsupportedModelError
from liteasr.progress import Track
from liteasr.refinement.config import RefinementConfig
from liteasr.refinement.pieces import Piece, pieces_of
from liteasr.refinement.windows import TrainingWindow, TrainingWindows, held_out_windows
from liteasr.runtime.forcing import Forcing, forcing_for
from liteasr.sources import SpeechModel

__all__ = ["divide", "forcing_of", "listen_", "text_shares"]

log = logging.getLogger(__name__)


def forcing_of(original: SpeechModel) -> Forcing | None:
    """What holds a decoder to a text; None, with a warning, where no runtime knows it."""
    try:
        return forcing_for(original)
    except UnsupportedModelError as error:
        log.warning("refining towards the encoder's output alone: %s", error)
        return None


def listen_(
    pieces: list[Piece],
    corpus: Corpus,
    original: SpeechModel,
    forcing: Forcing | None,
    config: RefinementConfig,
    track: Track,
) -> None:
    """Add the pieces of all recordings after the last one that has any.

    Without updates of the whole, checks alone need what the original says.

    Raises:
        AudioError: A recording cannot be read.
        TranscriptionError: The model does not know an utterance's language.
    """
    listens = forcing is not None and forcing.reads_tokens
    adapter = adapter_for(original.model)
    left = range(pieces[-1].utterance + 1 if pieces else 0, len(corpus))
    description = "Listening to the original" if listens else "Reading audio"
    checks = _held_out(corpus, config)
    for index in track(left, description=description, total=len(left)):
        heard = listens and (config.steps > 0 or corpus[index].id in checks)
        pieces += pieces_of(corpus, index, adapter, original, forcing if heard else None)


def divide(
    pieces: Sequence[Piece],
    corpus: Corpus,
    original: SpeechModel,
    forcing: Forcing | None,
    config: RefinementConfig,
) -> tuple[TrainingWindows, list[TrainingWindow]]:
    """Windows to train with, and others to check with, of other recordings."""
    held_out = _held_out(corpus, config)
    parts: dict[bool, list[Piece]] = {True: [], False: []}
    for piece in pieces:
        parts[corpus[piece.utterance].id in held_out].append(piece)
    adapter = adapter_for(original.model)
    windows = TrainingWindows(
        corpus,
        parts[False],
        original,
        adapter,
        forcing=forcing,
        positions=adapter.positions(adapter.encoder(original.model)),
        seed=config.seed,
        short_share=config.short_share,
        augment=config.augment,
    )
    checks = held_out_windows(
        corpus, parts[True], original, adapter, forcing=forcing, seed=config.seed
    )
    return windows, checks


def _held_out(corpus: Corpus, config: RefinementConfig) -> set[str]:
    """Recordings that check and never train."""
    count = max(1, round(config.held_out * len(corpus)))
    return {utterance.id for utterance in corpus.split(count, seed=config.seed)[0]}


def text_shares(windows: Sequence[TrainingWindow], forcing: Forcing | None) -> list[float]:
    """How much the text of each window counts: as much as it is long, so that tokens do."""
    if forcing is None or not forcing.reads_tokens:
        return [1 / len(windows)] * len(windows)
    lengths = [0 if window.said is None else len(window.said.targets) for window in windows]
    return [length / max(1, sum(lengths)) for length in lengths]
