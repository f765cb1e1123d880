"""Laws of what encodes windows: recorded where that is right, the encoder itself elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kernel_device import DEVICE
from liteasr.encoders import encode, pack_encoder
from liteasr.runtime import TranscriptionOptions, gpu_encoder, transcriber_for, window_encoder
from liteasr.runtime.window_encoder import WindowEncoder
from liteasr.sources import SpeechModel
from recorded_gpu import Recorded

MakeSpeech = Callable[..., SpeechModel]
MakeWave = Callable[[int, float], np.ndarray]
FULL = 60  # frames of a full window of the models here


@pytest.fixture
def speech(make_speech: MakeSpeech) -> SpeechModel:
    made = make_speech(blocks=1, max_source_positions=FULL // 2)
    made.model.to(DEVICE)
    return made


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames of every window that the encoder itself encoded."""
    frames: list[int] = []

    def counted(encoder: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        frames.append(inputs["input_features"].shape[-1])
        return encode(encoder, inputs)

    monkeypatch.setattr(window_encoder, "encode", counted)
    return frames


def window(seed: int, frames: int = FULL) -> Tensor:
    return torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def expected(speech: SpeechModel, features: Tensor) -> Tensor:
    with torch.inference_mode():
        return encode(speech.model.get_encoder(), {"input_features": features})


@pytest.mark.usefixtures("gpu")
def test_full_windows_are_replayed_and_others_are_encoded(
    speech: SpeechModel, recorded_encoder: list[Recorded], eager: list[int]
) -> None:
    made = WindowEncoder(speech)
    assert recorded_encoder == [], "nothing is made before there is a window"
    for seed, frames in enumerate((40, FULL, FULL, 42, FULL)):
        features = window(seed, frames)
        torch.testing.assert_close(made(features), expected(speech, features), rtol=1e-3, atol=1e-4)
    assert eager == [40, FULL, 42], "of the full ones, the first: to compare"
    assert len(recorded_encoder) == 1


@pytest.mark.usefixtures("gpu", "recorded_encoder")
def test_a_result_outlives_the_next_window(speech: SpeechModel) -> None:
    made = WindowEncoder(speech)
    results = [made(window(seed)) for seed in range(3)]
    for seed, result in enumerate(results):
        torch.testing.assert_close(result, expected(speech, window(seed)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("record", [True, False])
def test_nothing_is_recorded_without_a_gpu_or_a_wish(
    record: bool, speech: SpeechModel, recorded_encoder: list[Recorded], request: Any
) -> None:
    if record:
        speech.model.cpu()
    else:
        request.getfixturevalue("gpu")
    made = WindowEncoder(speech, record=record)
    features = window(0).to(speech.model.device)
    for _ in range(2):
        torch.testing.assert_close(made(features), expected(speech, features), rtol=0, atol=0)
    assert recorded_encoder == []


def change_a_weight(model: Any) -> None:
    with torch.no_grad():
        model.get_encoder().layers[0].self_attn.q_proj.weight.mul_(-3)


def change_a_layer(model: Any) -> None:
    model.get_encoder().layers[0].fc1 = nn.Linear(64, 256, device=DEVICE)


def change_a_copied_layer(model: Any) -> None:
    """What is freed first may give its place to what comes then."""
    attention = model.get_encoder().layers[0].self_attn
    attention.v_proj = None
    attention.v_proj = nn.Linear(64, 64, device=DEVICE)


def change_the_dtype(model: Any) -> None:
    model.double()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    "change", [change_a_weight, change_a_layer, change_a_copied_layer, change_the_dtype]
)
def test_a_changed_model_is_recorded_again(
    change: Callable[[Any], None], speech: SpeechModel, recorded_encoder: list[Recorded]
) -> None:
    made = WindowEncoder(speech)
    first = [made(window(0)) for _ in range(2)][1]
    change(speech.model)
    features = window(0).to(speech.model.dtype)
    for _ in range(2):
        found = made(features)
        torch.testing.assert_close(found, expected(speech, features), rtol=1e-3, atol=1e-4)
        assert change is change_the_dtype or (found - first).abs().max() > 0.01
    assert len(recorded_encoder) == 2


@pytest.mark.usefixtures("gpu")
def test_what_cannot_be_packed_is_encoded_and_the_log_says_so_once(
    make_speech: MakeSpeech, caplog: pytest.LogCaptureFixture, eager: list[int]
) -> None:
    caplog.set_level(logging.INFO)
    speech = make_speech(blocks=1, max_source_positions=FULL // 2, activation_function="relu")
    speech.model.to(DEVICE)
    adapted = make_speech(blocks=1, max_source_positions=FULL // 2)
    attention = adapted.model.get_encoder().layers[0].self_attn
    attention.v_proj = nn.Sequential(attention.v_proj)  # as adapters wrap layers
    adapted.model.to(DEVICE)
    for model, reason in ((speech, "only Whisper encoders with GELU"), (adapted, "got Sequential")):
        caplog.clear()
        made = WindowEncoder(model)
        for seed in range(3):
            torch.testing.assert_close(
                made(window(seed)), expected(model, window(seed)), rtol=0, atol=0
            )
        (message,) = caplog.messages
        assert message.startswith("encoder: PyTorch's own on")
        assert reason in message
    assert eager == [FULL] * 6


@pytest.mark.usefixtures("gpu", "recorded_encoder")
@pytest.mark.parametrize("wrong", ["another model", "not a number"])
def test_a_recording_that_differs_is_not_used(
    wrong: str, speech: SpeechModel, make_speech: MakeSpeech, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    other = make_speech(blocks=1, max_source_positions=FULL // 2, seed=1).model.to(DEVICE)
    if wrong == "not a number":
        with torch.no_grad():
            other.get_encoder().layer_norm.bias.fill_(float("nan"))
    monkeypatch.setattr(gpu_encoder, "pack_encoder", lambda model, **options: pack_encoder(other))
    made = WindowEncoder(speech)
    for seed in range(2):
        torch.testing.assert_close(
            made(window(seed)), expected(speech, window(seed)), rtol=0, atol=0
        )
    (message,) = caplog.messages
    assert "a recording of tiny differs from it by" in message


def test_a_recording_copies_a_quarter_of_a_dense_block(speech: SpeechModel) -> None:
    theirs = {weight.data_ptr() for weight in speech.model.parameters()}
    packed = pack_encoder(speech.model)
    block = speech.model.get_encoder().layers[0]
    whole = sum(layer.weight.numel() for layer in block.modules() if isinstance(layer, nn.Linear))
    copied = {
        name: weight.numel()
        for name, weight in (*packed.named_parameters(), *packed.named_buffers())
        if weight.data_ptr() not in theirs
    }
    assert sum(n for name, n in copied.items() if name.endswith("weight")) == whole / 4
    assert all("attention.projections.first" in name for name in copied)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("context", ["off", "auto"])
def test_transcripts_are_the_same(
    context: Any, make_speech: MakeSpeech, babble: MakeWave, recorded_encoder: list[Recorded]
) -> None:
    speech = make_speech(blocks=1)
    speech.model.to(DEVICE)
    options = TranscriptionOptions(language="en", temperature=(0.0,), max_new_tokens=8)
    options = replace(options, context=context, logprob_threshold=None, no_speech_threshold=None)
    wave = babble(0, 45.0)
    plain = transcriber_for(speech, encoder="torch").transcribe(wave, options)
    assert recorded_encoder == []
    assert transcriber_for(speech).transcribe(wave, options) == plain
    assert len(recorded_encoder) == 1
