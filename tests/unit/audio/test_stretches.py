from collections.abc import Callable

import numpy as np
import pytest

from liteasr.audio import stretches

MakeWave = Callable[[int, float], np.ndarray]


def test_stretches_are_the_whole_recording(babble: MakeWave) -> None:
    wave = babble(0, 25.0)
    found = list(stretches(wave, 10.0))
    assert np.array_equal(np.concatenate(found), wave)
    assert all(6.0 <= len(part) / 16_000 <= 10.0 for part in found[:-1])


def test_cuts_lie_in_the_middle_of_a_pause(rng: np.random.Generator) -> None:
    wave = rng.standard_normal(16_000 * 15).astype(np.float32)
    wave[16_000 * 8 : 16_000 * 8 + 8000] = 0
    first = next(stretches(wave, 10.0))
    assert 8.0 < len(first) / 16_000 < 8.5


@pytest.mark.parametrize(("samples", "expected"), [(1, [1600]), (1600, [1600]), (5000, [5000])])
def test_short_recordings_are_long_enough_for_convolutions(
    samples: int, expected: list[int]
) -> None:
    wave = np.ones(samples, dtype=np.float32)
    assert [len(part) for part in stretches(wave, 10.0)] == expected


def test_a_tiny_rest_is_dropped() -> None:
    wave = np.ones(16_000 * 10 + 100, dtype=np.float32)
    wave[16_000 * 10 - 3300 :] = 0
    assert [round(len(part) / 16_000, 1) for part in stretches(wave, 10.0)] == [9.9, 0.1]
