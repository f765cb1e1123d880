import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from liteasr.audio import log_mel, windows


@pytest.mark.parametrize("n_mels", [80, 128])
def test_features_are_those_of_transformers(n_mels: int, babble) -> None:  # type: ignore[no-untyped-def]
    extractor = WhisperFeatureExtractor(feature_size=n_mels)
    waveform = babble(0, 3.21)
    mel = log_mel(waveform, extractor)
    expected = extractor(waveform, sampling_rate=16_000, return_tensors="pt").input_features[0]
    assert torch.equal(mel.features, expected)
    assert mel.features.shape == (n_mels, 3000)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (160, 1), (161, 2), (480_000, 3000)])
def test_valid_frames_cover_the_audio(samples: int, frames: int) -> None:
    waveform = np.full(samples, 0.1, dtype=np.float32)
    assert log_mel(waveform, WhisperFeatureExtractor()).valid_frames == frames


@pytest.mark.parametrize("samples", [0, 480_001])
def test_other_lengths_are_refused_with_the_limit(samples: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 480000 samples, got {samples}"):
        log_mel(np.zeros(samples, dtype=np.float32), WhisperFeatureExtractor())


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (5, [5]),
        (480_000, [480_000]),
        (480_001, [480_000]),
        (482_000, [480_000, 2_000]),
        (1_000_000, [480_000, 480_000, 40_000]),
    ],
)
def test_windows_follow_each_other(samples: int, expected: list[int]) -> None:
    waveform = np.arange(samples, dtype=np.float32)
    cut = list(windows(waveform, WhisperFeatureExtractor()))
    assert [len(window) for window in cut] == expected
    np.testing.assert_array_equal(np.concatenate(cut), waveform[: sum(expected)])
