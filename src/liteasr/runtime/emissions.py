"""From frames to tokens with times: what CTC's best path says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jaxtyping import Float
from torch import Tensor

__all__ = ["Emission", "collapsed", "split_at_pauses", "split_at_words"]

PAUSE_S = 1.0
WORD_START = "\u2581"  # SentencePiece's mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Emission:
    """A token and when it was said.

    Attributes:
        token: Id in the vocabulary, never the blank.
        start_s: Seconds from the start of the recording.
        end_s: The same.
        logprob: Mean log-probability over its frames.
    """

    token: int
    start_s: float
    end_s: float
    logprob: float


def collapsed(
    scores: Float[Tensor, "seq vocab"], *, blank: int, frame_s: float, start_s: float
) -> list[Emission]:
    """The likeliest token of every frame, repetitions joined and blanks left out.

    Args:
        scores: Log-probabilities.
        blank: Id of the token that says nothing.
        frame_s: Length of a frame.
        start_s: Where the first one starts.

    Reference: Graves et al., Connectionist temporal classification (ICML 2006).
    """
    best, tokens = scores.max(dim=-1)
    logprobs = best.tolist()
    emissions = []
    for token, run in groupby(enumerate(tokens.tolist()), key=lambda pair: pair[1]):
        frames = [frame for frame, _ in run]
        if token != blank:
            emissions.append(
                Emission(
                    token=token,
                    start_s=start_s + frames[0] * frame_s,
                    end_s=start_s + (frames[-1] + 1) * frame_s,
                    logprob=sum(logprobs[frame] for frame in frames) / len(frames),
                )
            )
    return emissions


def split_at_pauses(emissions: Sequence[Emission]) -> Iterator[tuple[Emission, ...]]:
    """Groups with at least a second of silence between them."""
    first = 0
    for last in range(1, len(emissions)):
        if emissions[last].start_s - emissions[last - 1].end_s >= PAUSE_S:
            yield tuple(emissions[first:last])
            first = last
    if emissions:
        yield tuple(emissions[first:])


def split_at_words(emissions: Sequence[Emission], tokenizer: Any) -> Iterator[tuple[Emission, ...]]:
    """Groups that are words: pieces that start one, or characters between delimiters."""
    delimiter = tokenizer.init_kwargs.get("word_delimiter_token")
    group: list[Emission] = []
    for emission in emissions:
        piece: str = tokenizer.convert_ids_to_tokens(emission.token)
        if group and (piece == delimiter or piece.startswith(WORD_START)):
            yield tuple(group)
            group = []
        if piece != delimiter:
            group.append(emission)
    if group:
        yield tuple(group)
