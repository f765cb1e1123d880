from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import liteasr
from liteasr.encoders import adapter_for, run_encoder
from liteasr.nn import LowRankConv1d, is_projection
from liteasr.runtime import TranscriptionOptions, transcriber_for
from tiny_parakeet import tiny_parakeet

MakeWave = Callable[[int, float], np.ndarray]


@pytest.mark.parametrize("duration_s", [0.5, 2.0, 2.037])
def test_the_masked_frame_may_be_left_out(babble: MakeWave, duration_s: float) -> None:
    """Transformers masks the extractor's last frame; we do not compute it."""
    speech = tiny_parakeet()
    adapter, wave = adapter_for(speech.model), babble(0, duration_s)
    found = run_encoder(adapter.encoder(speech.model), next(adapter.inputs(speech.processor, wave)))
    with torch.inference_mode():
        made = speech.model.encoder(**speech.processor(wave, sampling_rate=16_000))
    expected = made.last_hidden_state[made.attention_mask.bool()]
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)


def test_the_text_is_what_transformers_decodes(babble: MakeWave) -> None:
    speech, wave = tiny_parakeet(), babble(2, 5.0)
    ids = speech.model.generate(**speech.processor(wave, sampling_rate=16_000))
    expected = speech.processor.batch_decode(ids, skip_special_tokens=True)[0]
    options = TranscriptionOptions(word_timestamps=True)
    found = transcriber_for(speech).transcribe(wave, options)
    assert found.text.split() == expected.split()
    words = [word.word.strip() for segment in found.segments for word in segment.words]
    assert words == expected.split()


def test_pointwise_convolutions_become_thin_ones(recordings: Path) -> None:
    speech = tiny_parakeet()
    encoder = speech.model.encoder
    assert is_projection(encoder.layers[0].conv.pointwise_conv1)
    assert not is_projection(encoder.layers[0].conv.depthwise_conv)
    assert not is_projection(nn.Conv1d(4, 4, 1, groups=2))
    liteasr.compress(speech, audio=recordings, samples=2, keep=0.6)
    kinds = [type(layer.conv.pointwise_conv1) for layer in encoder.layers]
    assert LowRankConv1d in kinds
