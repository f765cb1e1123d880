"""Moonshine's real files: their own runtime is the reference."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import liteasr
from liteasr.audio import load_audio
from liteasr.encoders import adapter_for, encoder_parameters, run_encoder
from liteasr.errors import IntegrityError, SourceError
from liteasr.runtime import transcriber_for
from liteasr.sources import fetch, load_dense
from liteasr.sources.moonshine_tokens import build_tokenizer, read_pieces
from liteasr.sources.ort_file import OrtWeights
from tiny_moonshine import PIECES, tokenizer_bin


def test_pieces_are_read_in_order(tmp_path: Path) -> None:
    assert read_pieces(tokenizer_bin(tmp_path / "tokenizer.bin")) == PIECES


def test_long_pieces_have_two_bytes_of_length(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.bin"
    file.write_bytes(bytes([128 + 72, 1]) + b"x" * 200 + b"\x01y")
    assert read_pieces(file) == [b"x" * 200, b"y"]


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.bin"
    file.write_bytes(b"\x05ab")
    with pytest.raises(IntegrityError, match=r"ends inside a piece .*SHA-256"):
        read_pieces(file)


def test_too_many_pieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="260 pieces and the model 100"):
        build_tokenizer(tokenizer_bin(tmp_path / "tokenizer.bin"), vocab_size=100)


def test_bytes_join_into_characters(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(tokenizer_bin(tmp_path / "tokenizer.bin"), vocab_size=270)
    tokens = [1, 259, *(3 + value for value in "é".encode()), 259, 265, 2]
    assert tokenizer.decode(tokens, skip_special_tokens=True) == "aé a"
    assert len(tokenizer) == 270


def test_another_file_is_no_ort_file(tmp_path: Path) -> None:
    file = tmp_path / "encoder_model.ort"
    file.write_bytes(b"not a flatbuffer at all, but long enough to look for an identifier")
    with pytest.raises(IntegrityError, match=r"no readable \.ort file"):
        OrtWeights(file)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "millions", "tolerance"),
    [("moonshine-base", 20.15, 2e-5), ("moonshine-tiny", 7.68, 0.05)],
)
def test_the_encoder_is_what_onnx_runtime_runs(
    name: str, millions: float, tolerance: float
) -> None:
    """Base has 8-bit weights alone; tiny's products are in 8 bits too, which is noise to us."""
    onnxruntime = pytest.importorskip("onnxruntime")
    speech = load_dense(name)
    assert round(encoder_parameters(speech.model) / 1e6, 2) == millions
    waveform = load_audio(fetch("two-cities") / "beckett.wav")
    adapter = adapter_for(speech.model)
    window = next(adapter.inputs(speech.processor, waveform))
    found = run_encoder(adapter.encoder(speech.model), window)
    session = onnxruntime.InferenceSession(str(fetch(name) / "encoder_model.ort"))
    names = [one.name for one in session.get_inputs()]
    feed = {"input_values": waveform[None], "attention_mask": np.ones((1, len(waveform)), np.int64)}
    (expected,) = session.run(None, {key: feed[key] for key in names})
    error = (found - torch.from_numpy(expected)).norm() / np.linalg.norm(expected)
    assert error < tolerance


@pytest.mark.real
@pytest.mark.parametrize("name", ["moonshine-base", "moonshine-tiny"])
def test_it_hears_what_is_said(name: str) -> None:
    found = transcriber_for(load_dense(name)).transcribe(fetch("two-cities") / "beckett.wav")
    assert "fail better" in found.text.lower(), json.dumps(found.text)


@pytest.mark.real
def test_an_ort_file_says_what_it_lacks() -> None:
    weights = OrtWeights(fetch("moonshine-tiny") / "encoder_model.ort")
    with pytest.raises(SourceError, match="has no tensor nonsense"):
        weights.tensor("nonsense")
    with pytest.raises(SourceError, match="has no node nonsense"):
        weights.operand("nonsense")


@pytest.mark.real
def test_real_weights_survive_the_whole_path(tmp_path: Path) -> None:
    """Layers that keep nearly all variance are reduced; the checkpoint says the same again."""
    config = liteasr.ThresholdConfig(attention=0.9995, mlp=0.9999)
    clip = fetch("two-cities") / "beckett.wav"
    lite = liteasr.compress("moonshine-tiny", audio=clip, config=config)
    assert lite.report.replaced > 0
    expected = transcriber_for(lite.speech).transcribe(clip).text
    assert "fail better" in expected.lower()
    lite.save(tmp_path / "lite")
    assert liteasr.load_transcriber(tmp_path / "lite").transcribe(clip).text == expected
