import math
from collections.abc import Callable

import jiwer
import numpy as np
import pytest

from liteasr.evaluation import (
    ErrorCounts,
    mean_clip_rate,
    normalizer_for,
    score_utterance,
    total_counts,
)

VOCABULARY = str.split(
    "the a twenty five 2025 $3.50 colour color organise don't can't it's we'll mister Mr. um "
    "theatre first 1st hundred thousand naïve co-operate 10km honour centre (cough) yes no"
)

MakePairs = Callable[[int], list[tuple[str, str]]]


@pytest.fixture
def pairs(rng: np.random.Generator) -> MakePairs:
    """References, and hypotheses with words dropped, replaced and added."""

    def make(count: int) -> list[tuple[str, str]]:
        made = []
        for _ in range(count):
            reference = rng.choice(VOCABULARY, size=rng.integers(1, 25)).tolist()
            heard = []
            for word in reference:
                fate = rng.random()
                if fate > 0.1:
                    heard.append(word if fate > 0.25 else str(rng.choice(VOCABULARY)))
                if rng.random() < 0.1:
                    heard.append(str(rng.choice(VOCABULARY)))
            made.append((" ".join(reference), " ".join(heard)))
        return made

    return make


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Give the Levenshtein distance, straight from its definition."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, heard in enumerate(hypothesis, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (expected != heard))
    return row[-1]


def test_rates_are_those_of_jiwer_and_of_the_definition(pairs: MakePairs) -> None:
    normalize = normalizer_for("en")
    for reference, hypothesis in pairs(250):
        counts = score_utterance(reference, hypothesis, "en")
        clean = normalize(reference), normalize(hypothesis)
        assert counts.errors == edit_distance(clean[0].split(), clean[1].split())
        assert counts.n == len(clean[0].split())
        if clean[0]:
            assert counts.rate == pytest.approx(jiwer.wer(*clean), abs=1e-12)


def test_a_corpus_is_the_sum_of_its_parts(pairs: MakePairs) -> None:
    counts = [score_utterance(*pair, "en") for pair in pairs(60)]
    first, second = total_counts(counts[:20]), total_counts(counts[20:])
    whole = first + second
    assert whole == total_counts(counts)
    weighted = (first.rate * first.n + second.rate * second.n) / (first.n + second.n)
    assert whole.rate == pytest.approx(weighted, abs=1e-12)
    normalize = normalizer_for("en")
    kept = [(normalize(r), normalize(h)) for r, h in pairs(60)]
    again = total_counts([score_utterance(*pair, "en") for pair in kept])
    assert again.n == sum(len(reference.split()) for reference, _ in kept)


def test_spelling_and_contractions_are_no_errors() -> None:
    counts = score_utterance(
        "It's the colour of 25 theatres", "it is the color of twenty-five theaters", "en"
    )
    assert counts.errors == 0


def test_chinese_is_counted_in_characters() -> None:
    counts = score_utterance("今天 天气很好。", "今天天汽好", "zh")
    assert counts == ErrorCounts(substitutions=1, deletions=1, hits=4, unit="character")
    assert counts.rate == pytest.approx(2 / 6)


def test_an_empty_reference_counts_insertions_alone() -> None:
    counts = score_utterance("(laughter)", "thank you", "en")
    assert (counts.insertions, counts.n, counts.rate) == (2, 0, math.inf)
    assert score_utterance("", "", "en").rate == 0.0
    assert (counts + ErrorCounts(hits=8)).rate == 0.25
    assert score_utterance("好", "", "zh").deletions == 1
    assert score_utterance("", "好", "zh").insertions == 1


def test_units_do_not_mix() -> None:
    with pytest.raises(ValueError, match="word errors and character errors"):
        ErrorCounts() + ErrorCounts(unit="character")
    with pytest.raises(ValueError, match="unit must be one of"):
        ErrorCounts(unit="syllable")
    with pytest.raises(ValueError, match="hits must not be negative, got -1"):
        ErrorCounts(hits=-1)


def test_counts_survive_a_dictionary() -> None:
    counts = ErrorCounts(substitutions=1, deletions=2, insertions=3, hits=4, unit="character")
    assert ErrorCounts.from_dict(counts.to_dict() | {"new": 1}) == counts


def test_the_papers_mean_weighs_clips_alike() -> None:
    long = ErrorCounts(hits=99, substitutions=1)
    short = ErrorCounts(hits=2, substitutions=1)  # 33.333 % becomes 33.33 %
    silent = ErrorCounts(insertions=5)
    assert mean_clip_rate([long, short, silent]) == pytest.approx((0.01 + 0.3333) / 2, abs=1e-12)
    assert mean_clip_rate([silent]) == 0.0
    assert total_counts([long, short]).rate != pytest.approx(mean_clip_rate([long, short]))
