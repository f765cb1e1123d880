import numpy as np
import pytest

from liteasr.runtime.windows import split_at_timestamps

BEGIN = 1000


def at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def test_pairs_cut_and_the_unfinished_rest_is_decoded_again() -> None:
    tokens = [at(0), 1, 2, at(4), at(4.5), 3, at(9), at(9), 4, 5]
    spans, advance = split_at_timestamps(tokens, timestamp_begin=BEGIN, frames=3000)
    assert [(s.start_frame, s.end_frame, s.first) for s in spans] == [(0, 400, 0), (450, 900, 4)]
    assert advance == 900


def test_a_single_time_at_the_end_finishes_the_window() -> None:
    tokens = [at(0), 1, at(4), at(4), 2, at(8)]
    spans, advance = split_at_timestamps(tokens, timestamp_begin=BEGIN, frames=1200)
    assert [(s.start_frame, s.end_frame) for s in spans] == [(0, 400), (400, 800)]
    assert advance == 1200


@pytest.mark.parametrize(
    ("tokens", "end"), [([1, 2], 700), ([at(0), 1, at(3)], 300), ([at(0), 1], 700), ([], 700)]
)
def test_without_pairs_the_window_is_one_segment(tokens: list[int], end: int) -> None:
    (span,), advance = split_at_timestamps(tokens, timestamp_begin=BEGIN, frames=700)
    assert (span.start_frame, span.end_frame, advance) == (0, end, 700)


def test_every_window_advances_within_its_audio(rng: np.random.Generator) -> None:
    for _ in range(500):
        tokens = rng.choice([1, 2, at(0), at(0), at(3), at(29)], size=rng.integers(0, 9)).tolist()
        frames = int(rng.integers(1, 3001))
        spans, advance = split_at_timestamps(tokens, timestamp_begin=BEGIN, frames=frames)
        assert 1 <= advance <= frames
        cut = [token for span in spans for token in span.tokens]
        assert cut == tokens[: len(cut)]  # nothing is said twice or out of order
