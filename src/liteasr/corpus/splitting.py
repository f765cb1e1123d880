"""One part to calibrate with, another to score: no clip is ever in both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from liteasr.corpus.resolve import load_corpus
from liteasr.corpus.utterance import Corpus, Utterance
from liteasr.errors import CorpusError

__all__ = ["parts", "pieces", "require_disjoint"]


def parts(
    refs: Iterable[str], languages: Iterable[str] | None, calibration: int, seed: int = 0
) -> tuple[Corpus, Corpus]:
    """Split the clips of each language of every corpus, and join first and second parts.

    Args:
        refs: What `load_corpus` opens.
        languages: Codes; None takes all of each corpus together.
        calibration: Clips of each that go into the first part: at most this, and half of them.
        seed: Chooses the clips.

    Raises:
        CorpusError: A corpus cannot be read, or none has two clips.
    """
    first: list[Utterance] = []
    second: list[Utterance] = []
    wanted = None if languages is None else list(languages)
    for ref in refs:
        whole = load_corpus(ref)
        groups = [whole.utterances]
        if wanted is not None:
            groups = [tuple(u for u in whole if u.language == language) for language in wanted]
        for spoken in groups:
            if len(spoken) < 2:
                continue
            corpus = Corpus(utterances=spoken, origin=ref)
            count = max(1, min(calibration, len(corpus) // 2))
            a, b = corpus.split(count, seed=seed)
            first.extend(replace(u, id=f"{ref}:{u.id}") for u in a)
            second.extend(replace(u, id=f"{ref}:{u.id}") for u in b)
    return (
        Corpus(utterances=tuple(first), origin="calibration parts"),
        Corpus(utterances=tuple(second), origin="scored parts"),
    )


def pieces(utterance: Utterance, length_s: float = 30.0) -> list[Utterance]:
    """A long recording in pieces, so that it counts for its length when clips are drawn."""
    whole = utterance.duration_s or 0.0
    if whole < 2 * length_s:
        return [utterance]
    return [
        replace(utterance, id=f"{utterance.id}@{k}", offset_s=k * length_s, duration_s=length_s)
        for k in range(int(whole // length_s))
    ]


def require_disjoint(calibrated: Corpus, scored: Corpus) -> None:
    """Check that no recording that calibrates is scored, wherever its file lies.

    Raises:
        CorpusError: One is; it is named.
    """
    known = set(calibrated.digests())
    for utterance, digest in zip(scored, scored.digests(), strict=True):
        if digest in known:
            raise CorpusError(
                f"{utterance.id} of {scored.origin} is calibrated with too, so its score would "
                "flatter: take it out of one of the two"
            )
