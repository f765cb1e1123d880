"""How sure a corpus rate is: utterances drawn again with replacement."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from liteasr.evaluation.error_rate import ErrorCounts, total_counts

__all__ = ["bootstrap_interval", "paired_bootstrap_interval", "ratio_interval"]

BLOCK = 2_000_000  # draws held in memory at once


def bootstrap_interval(
    counts: Sequence[ErrorCounts],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Give the percentile interval of the corpus rate, with utterances as the units of chance.

    Raises:
        ValueError: No reference words, mixed units, or a setting out of range.

    Reference: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
    evaluation", ICASSP 2004.
    """
    rates = _resampled_rates([counts], resamples, seed)[0]
    return _percentiles(rates, confidence)


def paired_bootstrap_interval(
    first: Sequence[ErrorCounts],
    second: Sequence[ErrorCounts],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Give the interval of rate(first) - rate(second) over the same utterances.

    An interval without 0 says that the systems differ.

    Raises:
        ValueError: The two did not hear the same references, in the same order.
    """
    if [(one.n, one.unit) for one in first] != [(one.n, one.unit) for one in second]:
        raise ValueError(
            f"paired counts must share their references: got {len(first)} and {len(second)} "
            "utterances, or references of other lengths"
        )
    rates = _resampled_rates([first, second], resamples, seed)
    return _percentiles(rates[0] - rates[1], confidence)


def ratio_interval(
    sums: Sequence[float],
    sizes: Sequence[int],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Give the percentile interval of Σ sums / Σ sizes, with utterances as the units of chance.

    Raises:
        ValueError: The sizes add up to nothing, or a setting is out of range.
    """
    if sum(sizes) == 0:
        raise ValueError("an interval needs sizes that add up to more than 0")
    rates = _drawn_rates(np.array([sums]), np.array(sizes), resamples, seed)[0]
    return _percentiles(rates, confidence)


def _resampled_rates(
    systems: Sequence[Sequence[ErrorCounts]], resamples: int, seed: int
) -> Float[np.ndarray, "systems resamples"]:
    for counts in systems:
        if total_counts(counts).n == 0:
            raise ValueError("an interval needs reference words, got none")
    errors = np.array([[one.errors for one in counts] for counts in systems], dtype=np.int64)
    lengths = np.array([one.n for one in systems[0]], dtype=np.int64)
    return _drawn_rates(errors, lengths, resamples, seed)


def _drawn_rates(
    sums: Shaped[np.ndarray, "systems utterances"],
    sizes: Int[np.ndarray, "utterances"],
    resamples: int,
    seed: int,
) -> Float[np.ndarray, "systems resamples"]:
    """Give each system's rate on the same draws of utterances."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // len(sizes))
    parts = []
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), len(sizes))
        parts.append(_rates(sums, sizes, rng.integers(0, len(sizes), size=size)))
    return np.concatenate(parts, axis=1)


def _rates(
    sums: Shaped[np.ndarray, "systems utterances"],
    sizes: Int[np.ndarray, "utterances"],
    drawn: Int[np.ndarray, "resamples utterances"],
) -> Float[np.ndarray, "systems resamples"]:
    total = np.maximum(sizes[drawn].sum(axis=1), 1)  # a draw may hold empty references alone
    rates: Float[np.ndarray, "systems resamples"] = sums[:, drawn].sum(axis=2) / total
    return rates


def _percentiles(values: Float[np.ndarray, "resamples"], confidence: float) -> tuple[float, float]:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
