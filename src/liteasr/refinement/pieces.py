"""Recordings in pieces no longer than a window, with what the original model says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ, is_silent
from liteasr.corpus import Corpus
from liteasr.encoders import EncoderAdapter, run_encoder
from liteasr.runtime.forcing import Forcing
from liteasr.sources import SpeechModel

__all__ = ["Piece", "Said", "join_said", "pieces_of"]

MOST_TOKENS = 160  # that a decoder is held to in one window; more make it slow, not better
SHORTEST = 0.1  # of a window: what is left of a longer recording is dropped below that

Waveform = Float[np.ndarray, "samples"]


class Said(NamedTuple):
    """What a decoder is held to: tokens that ask for the text, and the text."""

    prompt: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a recording.

    Attributes:
        utterance: Index in the corpus.
        start: First sample.
        stop: Sample after the last one.
        said: What the original model hears there, without an end token; None where no decoder
            is held to anything.
    """

    utterance: int
    start: int
    stop: int
    said: Said | None = None

    def of(self, waveform: Waveform) -> Waveform:
        """The piece of a recording."""
        return waveform[self.start : self.stop]


def pieces_of(
    corpus: Corpus,
    index: int,
    adapter: EncoderAdapter,
    original: SpeechModel,
    forcing: Forcing | None,
) -> list[Piece]:
    """Cut a recording into pieces, and let the original model transcribe them greedily.

    Args:
        corpus: Unlabelled audio.
        index: Which of its recordings.
        adapter: Of the original model.
        original: The model.
        forcing: Its decoder; None where it is not to be listened to.

    Raises:
        AudioError: The recording cannot be read.
        TranscriptionError: The model does not know the utterance's language.
    """
    waveform = corpus[index].load()
    samples = round(adapter.window_s(original.processor) * SAMPLE_RATE_HZ)
    pieces = _cut(index, len(waveform), samples)
    if forcing is None:
        return pieces
    language = corpus[index].language
    return [
        replace(piece, said=_said(piece.of(waveform), forcing, adapter, language))
        for piece in pieces
    ]


def _cut(utterance: int, length: int, samples: int) -> list[Piece]:
    starts = range(0, max(length, 1), samples)
    whole = [Piece(utterance=utterance, start=s, stop=min(s + samples, length)) for s in starts]
    return [p for p in whole if p.start == 0 or p.stop - p.start >= SHORTEST * samples]


def _said(
    waveform: Waveform, forcing: Forcing, adapter: EncoderAdapter, language: str | None
) -> Said | None:
    if is_silent(waveform):
        return None
    speech = forcing.speech
    window = next(adapter.inputs(speech.processor, waveform))
    encoded = run_encoder(adapter.encoder(speech.model), window)
    prompt, targets = forcing.listen(encoded, window.duration_s, language)
    end = forcing.end_token
    return Said(prompt=prompt, targets=targets[:-1] if targets[-1:] == (end,) else targets)


def join_said(texts: Sequence[Said], forcing: Forcing, *, ended: bool) -> Said | None:
    """One text of several, as long as the decoder takes; None where nothing is said.

    Args:
        texts: Of pieces that follow each other, without end tokens.
        forcing: The original model's decoder.
        ended: Whether an end token follows.
    """
    tokens = [token for said in texts for token in said.targets]
    if ended and forcing.end_token is not None:
        tokens.append(forcing.end_token)
    if not (texts and tokens):
        return None
    prompt = texts[0].prompt
    return Said(prompt, tuple(tokens[: min(MOST_TOKENS, forcing.longest - len(prompt))]))
