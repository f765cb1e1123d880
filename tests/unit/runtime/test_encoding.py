"""One interface to every encoder runtime."""

import numpy as np
import pytest
import torch

from liteasr.runtime.encoding import EncoderRuntime
from liteasr.runtime.torch_encoder import TorchEncoder
from tiny_whisper import tiny_whisper


def features(batch: int, frames: int, n_mels: int = 80) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, n_mels, frames), dtype=np.float32)


def test_a_full_window_is_what_transformers_gives() -> None:
    speech = tiny_whisper()
    runtime: EncoderRuntime = TorchEncoder(speech)
    full = features(1, 3000)
    with torch.inference_mode():
        expected = speech.model.get_encoder()(torch.from_numpy(full)).last_hidden_state.numpy()
    np.testing.assert_allclose(runtime.encode(full), expected, rtol=1e-5, atol=1e-5)
    assert runtime.name == "torch-float32:tiny"


@pytest.mark.parametrize(("frames", "positions"), [(1, 1), (2, 1), (101, 51), (640, 320)])
def test_a_shorter_window_has_half_as_many_positions(frames: int, positions: int) -> None:
    states = TorchEncoder(tiny_whisper()).encode(features(2, frames))
    assert states.shape == (2, positions, 64)
    assert states.dtype == np.float32


def test_windows_of_a_batch_do_not_see_each_other() -> None:
    runtime = TorchEncoder(tiny_whisper())
    batch = features(3, 200)
    alone = np.concatenate([runtime.encode(window[None]) for window in batch])
    np.testing.assert_allclose(runtime.encode(batch), alone, rtol=1e-5, atol=1e-5)


def test_half_precision_models_take_and_give_float32() -> None:
    speech = tiny_whisper()
    speech.model.to(torch.bfloat16)
    assert TorchEncoder(speech).encode(features(1, 100)).dtype == np.float32


def test_another_dtype_leaves_the_model_alone() -> None:
    speech = tiny_whisper()
    runtime = TorchEncoder(speech, dtype=torch.bfloat16)
    assert runtime.name == "torch-bfloat16:tiny"
    assert speech.model.dtype == torch.float32
    expected = TorchEncoder(speech).encode(features(1, 100))
    found = runtime.encode(features(1, 100))
    assert 0 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (features(1, 3002), "1 to 3000 frames"),
        (features(1, 0), "1 to 3000 frames"),
        (features(0, 10), "at least one window"),
        (features(1, 10, 128), r"\[batch, 80, frames\]"),
        (features(1, 10)[0], r"\[batch, 80, frames\]"),
        (features(1, 10).astype(np.float64), "must be float32"),
    ],
)
def test_other_features_are_refused(wrong: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchEncoder(tiny_whisper()).encode(wrong)
