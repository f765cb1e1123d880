"""240 pairs with what the leaderboard's own normalizer makes of them.

The file is made by ``benchmarks/open_asr_pairs.py``, which says how.
"""

import json
from pathlib import Path

import jiwer
import pytest

from liteasr.evaluation import mean_clip_rate, normalizer_for, score_utterance, total_counts

FILE = Path(__file__).parents[2] / "data" / "open_asr_pairs.jsonl"
PAIRS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def test_there_are_enough_pairs_of_every_kind() -> None:
    texts = " ".join(f"{pair['reference']} {pair['hypothesis']}" for pair in PAIRS).lower()
    assert len(PAIRS) >= 200
    for sign in ("$", "%", "£", "'ll", "n't", "mr.", "colour", "u.s.a.", "...", "(laughs)", "2010"):
        assert sign in texts
    assert 0.2 < sum(pair["errors"] > 0 for pair in PAIRS) / len(PAIRS) < 0.9


def test_texts_become_what_the_leaderboard_makes_of_them() -> None:
    normalize = normalizer_for("en", "open-asr")
    for pair in PAIRS:
        assert normalize(pair["reference"]) == pair["normalized_reference"]
        assert normalize(pair["hypothesis"]) == pair["normalized_hypothesis"]


def test_errors_are_those_of_jiwer_and_of_the_definition() -> None:
    counts = []
    for pair in PAIRS:
        found = score_utterance(pair["reference"], pair["hypothesis"], "en", "open-asr")
        assert (found.errors, found.n) == (pair["errors"], pair["words"])
        theirs = jiwer.process_words(pair["normalized_reference"], pair["normalized_hypothesis"])
        assert (found.substitutions, found.deletions, found.insertions) == (
            theirs.substitutions,
            theirs.deletions,
            theirs.insertions,
        )
        counts.append(found)
    corpus = [
        [pair[f"normalized_{side}"] for pair in PAIRS] for side in ("reference", "hypothesis")
    ]
    assert total_counts(counts).rate == pytest.approx(jiwer.wer(*corpus), abs=1e-12)


def test_the_papers_mean_is_another_number() -> None:
    counts = [score_utterance(p["reference"], p["hypothesis"], "en") for p in PAIRS]
    normalize = normalizer_for("en")
    clips = [
        round(100 * jiwer.wer(normalize(pair["reference"]), normalize(pair["hypothesis"])), 2)
        for pair in PAIRS
    ]
    assert mean_clip_rate(counts) == pytest.approx(sum(clips) / len(clips) / 100, abs=1e-12)
    assert abs(mean_clip_rate(counts) - total_counts(counts).rate) > 0.01
