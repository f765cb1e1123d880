"""Encoders that nobody listed: a wav2vec2 stands in for one, by name."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import liteasr
from liteasr.encoders import GenericAdapter, adapter_for, run_encoder, use_encoder_
from liteasr.errors import UnsupportedModelError
from liteasr.plan.flops import count_flops
from liteasr.refinement import RefinementConfig
from liteasr.sources import SpeechModel
from tiny_ctc import WAV2VEC2_FAMILIES, randomized, tiny_wav2vec2
from tiny_families import HAND_COUNTS

MakeWave = Callable[[int, float], np.ndarray]


@pytest.fixture
def speech() -> SpeechModel:
    return tiny_wav2vec2()


def output(speech: SpeechModel, wave: np.ndarray) -> torch.Tensor:
    adapter = adapter_for(speech.model)
    window = next(adapter.inputs(speech.processor, wave))
    return run_encoder(adapter.encoder(speech.model), window)


def test_every_linear_layer_of_the_encoder_is_found(speech: SpeechModel) -> None:
    adapter = use_encoder_(speech.model, speech.processor, "wav2vec2")
    assert adapter_for(speech.model) == adapter
    encoder = adapter.encoder(speech.model)
    assert adapter_for(encoder) is adapter
    linears = {name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)}
    assert {target.name for target in adapter.targets(encoder)} == linears
    groups = {target.name.split(".")[-2]: target.group for target in adapter.targets(encoder)}
    assert groups == {"feature_projection": "mlp", "attention": "attention", "feed_forward": "mlp"}


def test_a_pattern_chooses(speech: SpeechModel) -> None:
    adapter = use_encoder_(
        speech.model, speech.processor, "wav2vec2", pattern=r"feed_forward|q_proj"
    )
    assert len(adapter.layers) == 6
    assert adapter.layers[0] == "encoder.layers.0.attention.q_proj"


def test_layers_that_are_not_called_are_left_out() -> None:
    prepared = tiny_wav2vec2("wavlm")
    config_class, model_class, own = WAV2VEC2_FAMILIES["wavlm"]
    config = config_class(**{**prepared.model.config.to_dict(), **own})
    model = randomized(model_class(config))
    adapter = use_encoder_(model, prepared.processor, "wavlm")
    assert not any(layer.endswith("q_proj") for layer in adapter.layers)
    assert any(layer.endswith("output_dense") for layer in adapter.layers)


def test_positions_and_flops_are_counted(speech: SpeechModel) -> None:
    adapter = use_encoder_(speech.model, speech.processor, "wav2vec2")
    assert adapter.positions(adapter.encoder(speech.model)) == 1499
    counted = count_flops(speech.model)
    assert counted.total == HAND_COUNTS["wav2vec2"](None)
    assert set(counted.vectors.values()) == {1499}


def test_the_whole_path_ends_in_the_same_output(
    speech: SpeechModel, recordings: Path, babble: MakeWave, tmp_path: Path
) -> None:
    use_encoder_(speech.model, speech.processor, "wav2vec2", pattern="encoder.layers")
    before = output(deepcopy(speech), babble(5, 2.0))
    lite = liteasr.compress(
        speech,
        audio=recordings,
        samples=2,
        keep=0.8,
        refinement=RefinementConfig(steps=1, batch_size=1, held_out=0.5),
    )
    assert {layer.form for layer in lite.plan} == {"chain", "dense"}
    lite.save(tmp_path / "lite")
    again = liteasr.load(tmp_path / "lite")
    assert isinstance(adapter_for(again.speech.model), GenericAdapter)
    found = output(again.speech, babble(5, 2.0))
    assert torch.equal(found, output(speech, babble(5, 2.0)))
    assert not torch.equal(found, before)
    text = liteasr.transcriber_for(speech).transcribe(babble(5, 2.0)).text
    assert liteasr.load_transcriber(tmp_path / "lite").transcribe(babble(5, 2.0)).text == text


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        ("nowhere", "", r"no module 'nowhere': its parts are wav2vec2, dropout, lm_head"),
        ("lm_head", "", r"lm_head cannot run on what the feature extractor gives"),
        ("wav2vec2", "xyz", r"whose name holds 'xyz'"),
    ],
)
def test_what_cannot_be_used_is_named(
    speech: SpeechModel, name: str, pattern: str, message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        use_encoder_(speech.model, speech.processor, name, pattern=pattern)
