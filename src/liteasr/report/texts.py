"""What models wrote, beside what was said, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liteasr._optional import require
from liteasr.evaluation import EvaluationMatrix, Rules, ScoredUtterance, normalizer_for

__all__ = ["MarkedText", "Passage", "marked", "passages"]

LONGEST = 240  # letters of one stretch: a loop would fill the page

Kind = Literal["hit", "substituted", "inserted", "deleted"]
KINDS: dict[str, Kind] = {
    "equal": "hit",
    "substitute": "substituted",
    "insert": "inserted",
    "delete": "deleted",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedText:
    """A hypothesis after normalization, in pieces that are right or wrong in one way.

    Attributes:
        model: Label of the model.
        pieces: What became of each stretch of words, and the words: of the reference where
            they were left out, of the hypothesis otherwise.
        errors: Their number.
    """

    model: str
    pieces: tuple[tuple[Kind, str], ...]
    errors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """One utterance, as the corpus has it and as every model heard it."""

    corpus: str
    id: str
    reference: str
    texts: tuple[MarkedText, ...]


def passages(matrix: EvaluationMatrix, count: int, rules: Rules = "whisper") -> list[Passage]:
    """The utterances on which models differ most, by the spread of their errors per word."""
    found: list[tuple[float, Passage]] = []
    for corpus in matrix.corpora:
        reports = [(model, matrix.report(model, corpus)) for model in matrix.models]
        heard = [(model, report.utterances) for model, report in reports if report is not None]
        for place, first in enumerate(heard[0][1]):
            same = [
                (model, utterances[place])
                for model, utterances in heard
                if place < len(utterances) and utterances[place].id == first.id
            ]
            rates = [one.counts.errors / max(one.counts.n, 1) for _, one in same]
            texts = tuple(marked(model, one, rules) for model, one in same)
            passage = Passage(
                corpus=corpus,
                id=_short_name(first.id),
                reference=first.reference.strip(),
                texts=texts,
            )
            found.append((max(rates) - min(rates), passage))
    ranked = sorted(found, key=lambda pair: -pair[0])
    return [passage for _, passage in ranked[:count]]


def marked(model: str, one: ScoredUtterance, rules: Rules = "whisper") -> MarkedText:
    """Align a hypothesis with its reference, both normalized.

    Raises:
        MissingDependencyError: The extra ``evaluate`` is not installed.
    """
    jiwer = require("jiwer", extra="evaluate")
    normalize = normalizer_for(one.language, rules)
    by_word = one.counts.unit == "word"
    align = jiwer.process_words if by_word else jiwer.process_characters
    found = align(normalize(one.reference), normalize(one.hypothesis))
    joint = " " if by_word else ""
    said, heard = found.references[0], found.hypotheses[0]
    pieces = []
    for chunk in found.alignments[0]:
        wanted = said[chunk.ref_start_idx : chunk.ref_end_idx]
        written = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        words = wanted if chunk.type == "delete" else written
        pieces.append((KINDS[chunk.type], _shortened(joint.join(words), len(words))))
    return MarkedText(model=model, pieces=tuple(pieces), errors=one.counts.errors)


def _short_name(id: str) -> str:
    """The last part of an id that is a path: a page may go where its corpus does not."""
    return id.replace("\\", "/").rsplit("/", 1)[-1]


def _shortened(text: str, words: int) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} \u2026 ({words} in all)"
