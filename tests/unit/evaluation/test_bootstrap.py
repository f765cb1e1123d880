import numpy as np
import pytest

from liteasr.evaluation import (
    ErrorCounts,
    bootstrap_interval,
    paired_bootstrap_interval,
    ratio_interval,
    total_counts,
)
from liteasr.evaluation import bootstrap as module


def corpus(utterances: int, rate: float = 0.1, seed: int = 0) -> list[ErrorCounts]:
    """Give utterances of 5 to 30 words; the lengths depend on nothing but the position."""
    lengths = np.random.default_rng(0).integers(5, 30, size=utterances)
    errors = np.random.default_rng(seed + 1).binomial(lengths, rate)
    return [
        ErrorCounts(substitutions=int(wrong), hits=int(length - wrong))
        for length, wrong in zip(lengths, errors, strict=True)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_holds_the_rate(seed: int) -> None:
    counts = corpus(200, seed=seed)
    low, high = bootstrap_interval(counts, seed=seed)
    assert low < total_counts(counts).rate < high


def test_the_interval_shrinks_as_one_over_the_root_of_n() -> None:
    widths = [np.ptp(bootstrap_interval(corpus(n))) for n in (100, 400, 1600)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[0] / widths[2] == pytest.approx(4, rel=0.4)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        low, high = bootstrap_interval(corpus(150, seed=seed), resamples=300)
        hits += low <= 0.1 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_seed_decides_and_blocks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = corpus(50)
    whole = bootstrap_interval(counts)
    assert bootstrap_interval(counts) == whole
    assert bootstrap_interval(counts, seed=1) != whole
    monkeypatch.setattr(module, "BLOCK", 777)
    assert bootstrap_interval(counts) == whole


def test_more_confidence_is_wider() -> None:
    counts = corpus(100)
    assert np.ptp(bootstrap_interval(counts, confidence=0.99)) > np.ptp(bootstrap_interval(counts))


def test_word_errors_are_one_kind_of_ratio() -> None:
    counts = corpus(60)
    sums, sizes = [one.errors for one in counts], [one.n for one in counts]
    assert ratio_interval(sums, sizes) == bootstrap_interval(counts)
    halves = ratio_interval([value / 2 for value in sums], sizes)
    assert halves == pytest.approx([bound / 2 for bound in bootstrap_interval(counts)])


def test_identical_systems_differ_by_exactly_nothing() -> None:
    assert paired_bootstrap_interval(corpus(80), corpus(80)) == (0.0, 0.0)


def test_a_clear_difference_excludes_zero_and_changes_sign() -> None:
    worse, better = corpus(300, rate=0.2, seed=1), corpus(300, rate=0.1, seed=2)
    low, high = paired_bootstrap_interval(worse, better)
    assert 0 < low < high
    assert paired_bootstrap_interval(better, worse) == pytest.approx((-high, -low))


def test_pairs_need_the_same_references() -> None:
    with pytest.raises(ValueError, match="share their references: got 10 and 9"):
        paired_bootstrap_interval(corpus(10), corpus(9))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 95"):
        bootstrap_interval(corpus(5), confidence=95)
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        bootstrap_interval(corpus(5), resamples=0)
    with pytest.raises(ValueError, match="sizes that add up"):
        ratio_interval([1.0], [0])
    for counts in ([], [ErrorCounts(insertions=2)]):
        with pytest.raises(ValueError, match="needs reference words"):
            bootstrap_interval(counts)
