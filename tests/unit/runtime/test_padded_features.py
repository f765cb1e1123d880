"""faster-whisper's zeros become the silence that Whisper was trained with."""

from collections.abc import Callable

import numpy as np
import pytest
from faster_whisper.audio import pad_or_trim
from faster_whisper.feature_extractor import FeatureExtractor

from liteasr.runtime.padded_features import audio_frames, with_silence

MakeWave = Callable[[int, float], np.ndarray]


def test_frames_before_the_padding_are_counted() -> None:
    windows = np.zeros((4, 80, 3000), np.float32)
    windows[0] = 1.0
    windows[1, :, :7] = -0.5
    windows[2, 3, 99] = 0.1  # zeros inside the audio are audio
    assert audio_frames(windows).tolist() == [3000, 7, 100, 0]


def test_full_windows_are_given_back_as_they_are() -> None:
    windows = np.ones((2, 80, 30), np.float32)
    assert with_silence(windows, audio_frames(windows)) is windows


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("gain", [1.0, 1e-5])
def test_the_silence_is_that_of_padded_audio(babble: MakeWave, noise: float, gain: float) -> None:
    """Also where noise keeps every bin above the floor, and where all is almost silent."""
    wave = babble(0, 2.0) * gain + noise * np.random.default_rng(0).standard_normal(32_000)
    extractor = FeatureExtractor()
    zeros = pad_or_trim(extractor(wave.astype(np.float32))[:, :-1])[None]
    padded = extractor(np.pad(wave, (0, 480_000 - len(wave))).astype(np.float32))[:, :-1][None]
    filled = with_silence(zeros, audio_frames(zeros))
    assert not np.array_equal(filled, zeros)
    np.testing.assert_allclose(filled[..., 202:], padded[..., 202:], atol=1e-5)
    np.testing.assert_allclose(filled[..., :198], padded[..., :198], atol=1e-5)


def test_a_last_window_keeps_the_floor_of_its_recording(babble: MakeWave) -> None:
    loud = np.concatenate([babble(1, 30.0), 0.01 * babble(2, 2.0)])
    features = FeatureExtractor()(loud)[:, :-1]
    last = pad_or_trim(features[:, 3000:])[None]
    filled = with_silence(last, audio_frames(last))
    assert filled[0, 0, -1] == features.min()


def test_a_window_without_audio_is_silent() -> None:
    nothing = np.zeros((1, 80, 100), np.float32)
    assert (with_silence(nothing, audio_frames(nothing)) == -1.5).all()
