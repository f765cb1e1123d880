from collections.abc import Callable

import numpy as np
import pytest
import torch

from liteasr.encoders import adapter_for, run_encoder
from liteasr.errors import UnsupportedModelError
from liteasr.runtime import transcriber_for
from tiny_towers import tiny_qwen2_audio, tiny_voxtral

MakeWave = Callable[[int, float], np.ndarray]


def test_short_audio_is_encoded_without_the_padding_that_qwen_masks(babble: MakeWave) -> None:
    speech = tiny_qwen2_audio()
    adapter = adapter_for(speech.model)
    tower = adapter.encoder(speech.model)
    (window,) = adapter.inputs(speech.processor, babble(0, 5.0))
    found = run_encoder(tower, window)
    assert found.shape == (1, 125, 64), "two positions of 20 ms each"
    full = speech.processor.feature_extractor(
        babble(0, 5.0), sampling_rate=16_000, return_tensors="pt"
    )
    mask = torch.zeros(1, 1, 1500, 1500)
    mask[..., 250:] = float("-inf")
    with torch.inference_mode():
        expected = tower(full.input_features, attention_mask=mask).last_hidden_state[:, :125]
    error = (found - expected).norm() / expected.norm()
    assert error < 0.05, "a convolution at the last position sees the padding"


def test_what_reads_the_output_is_seen_position_by_position() -> None:
    for speech, positions in ((tiny_qwen2_audio(), 1), (tiny_voxtral(), 4)):
        readout = adapter_for(speech.model).readout(speech.model)
        assert readout.shape == (32 * positions, 64)
    y = torch.randn(4, 64)
    layer = speech.model.model.multi_modal_projector.linear_1
    parts = (readout.view(32, 4, 64) * y).sum((1, 2))
    torch.testing.assert_close(parts, layer(y.flatten()), rtol=1e-4, atol=1e-4)


def test_chat_models_are_not_transcribed_with() -> None:
    with pytest.raises(UnsupportedModelError, match="no runtime can decode tiny-voxtral"):
        transcriber_for(tiny_voxtral())
