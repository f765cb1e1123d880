"""Mel filters by their bands."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from liteasr.runtime.mel_bands import MelBands


@pytest.mark.parametrize("bands", [80, 128])
def test_they_give_what_faster_whisper_gives(bands: int) -> None:
    extractor = FeatureExtractor(feature_size=bands)
    noise = np.random.default_rng(0).standard_normal(16_000 * 3, dtype=np.float32)
    expected = extractor(noise)
    extractor.mel_filters = MelBands(extractor.mel_filters)
    found = extractor(noise)
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() < 1e-5


def test_empty_bands_hear_nothing() -> None:
    filters = np.array([[0, 0, 0], [0, 2, 1]], np.float32)
    power = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.array_equal(MelBands(filters) @ power, filters @ power)


def test_other_spectrograms_are_refused() -> None:
    with pytest.raises(ValueError, match="read 3 frequencies, the spectrogram has 2"):
        MelBands(np.ones((2, 3), np.float32)) @ np.ones((2, 5), np.float32)
