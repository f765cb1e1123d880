from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Model

from liteasr.encoders import adapter_for, encode, prepare_, readout_metric
from liteasr.errors import UnsupportedModelError
from liteasr.nn import GatedSelfAttention
from tiny_ctc import WAV2VEC2_FAMILIES, randomized, tiny_wav2vec2

MakeWave = Callable[[int, float], np.ndarray]


@pytest.mark.parametrize("family", WAV2VEC2_FAMILIES)
def test_all_kin_encode_as_transformers_does(family: str, babble: MakeWave) -> None:
    speech = tiny_wav2vec2(family)
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    window = next(adapter.inputs(speech.processor, babble(0, 1.0)))
    with torch.inference_mode():
        expected = encoder(**window.tensors).last_hidden_state
        assert torch.equal(encode(encoder, window.tensors), expected)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # of transformers
@pytest.mark.parametrize("family", ["wavlm", "wavlm-large"])
def test_prepared_wavlm_computes_what_transformers_does(family: str, babble: MakeWave) -> None:
    config_class, model_class, own = WAV2VEC2_FAMILIES[family]
    prepared = tiny_wav2vec2(family)
    model = randomized(model_class(config_class(**{**prepared.model.config.to_dict(), **own})))
    model.load_state_dict(prepared.model.state_dict())
    samples = torch.from_numpy(babble(0, 1.0))[None]
    mask = torch.ones_like(samples, dtype=torch.long)
    mask[:, 9000:] = 0
    with torch.inference_mode():
        for given in (None, mask):
            expected = model(samples, attention_mask=given).logits
            found = prepared.model(samples, attention_mask=given).logits
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_preparing_twice_changes_nothing() -> None:
    speech = tiny_wav2vec2("wavlm")
    before = speech.model.wavlm.encoder.layers[0].attention
    prepare_(speech.model)
    assert speech.model.wavlm.encoder.layers[0].attention is before
    assert isinstance(before, GatedSelfAttention)


def test_what_all_tokens_share_is_not_read() -> None:
    """Softmax ignores a shift of all scores, so the head's mean row costs nothing."""
    speech = tiny_wav2vec2()
    before = readout_metric(speech.model)
    with torch.no_grad():
        speech.model.lm_head.weight += torch.randn(64)
    torch.testing.assert_close(readout_metric(speech.model), before, rtol=1e-3, atol=1e-4)


def test_a_model_without_a_head_is_refused() -> None:
    model = Wav2Vec2Model(tiny_wav2vec2().model.config)
    with pytest.raises(UnsupportedModelError, match="Wav2Vec2Model has no CTC head"):
        adapter_for(model).readout(model)


def test_long_audio_is_cut_where_it_is_quiet(babble: MakeWave) -> None:
    speech = tiny_wav2vec2()
    wave = babble(0, 70.0)
    windows = list(adapter_for(speech.model).inputs(speech.processor, wave))
    assert sum(window.duration_s for window in windows) == pytest.approx(70.0)
    assert all(20.0 <= window.duration_s <= 30.0 for window in windows[:-1])
