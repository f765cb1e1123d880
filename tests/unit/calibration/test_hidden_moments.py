"""Moments of what enters the second layer of an MLP: two halves, speech and padding balanced."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liteasr.calibration import Calibration, calibrate, places
from liteasr.corpus import Corpus
from liteasr.encoders import adapter_for
from liteasr.errors import CalibrationError
from liteasr.lowrank import Moments
from liteasr.plan import spectra_of
from liteasr.sources import SpeechModel
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors
from stopping import Stop
from tiny_whisper import tiny_whisper

KEY = "layers.0.fc2.input"


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    return tiny_whisper(blocks=1)


def stored(speech: SpeechModel, corpus: Corpus) -> list[tuple[torch.Tensor, int]]:
    """Every hidden vector of every recording, and how many of them are audio."""
    encoder, adapter = speech.model.get_encoder(), adapter_for(speech.model)
    seen: list[torch.Tensor] = []
    handle = encoder.layers[0].fc2.register_forward_pre_hook(lambda m, x: seen.append(x[0][0]))
    valid = []
    for utterance in corpus:
        (window,) = adapter.inputs(speech.processor, utterance.load())
        with torch.inference_mode():
            encoder(**window.tensors)
        valid.append(window.valid_positions)
    handle.remove()
    return list(zip(seen, valid, strict=True))


def assert_same(found: Moments, expected: Moments) -> None:
    assert found.count == expected.count
    torch.testing.assert_close(found.products, expected.products, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("frames", ["balanced", "all", "speech"])
def test_halves_hold_every_other_recording_and_a_quarter_of_the_padding(  # type: ignore[no-untyped-def]
    speech, corpus, frames
) -> None:
    found = calibrate(speech, corpus, frames=frames).hidden
    assert list(found) == [KEY]
    vectors = stored(speech, corpus)
    for half in (0, 1):
        parts = [x[:valid] for x, valid in vectors[half::2]]
        if frames != "speech":
            parts += [x[valid::4] for x, valid in vectors[half::2]]
        assert_same(found[KEY][half], Moments.of(torch.cat(parts)))


def test_halves_of_parts_add_up(speech: SpeechModel, corpus: Corpus, made: Calibration) -> None:
    parts = [
        calibrate(speech, replace(corpus, utterances=corpus.utterances[i : i + 2])).hidden
        for i in (0, 2, 4)
    ]
    for half in (0, 1):
        first, second, third = (part[KEY][half] for part in parts)
        assert_same(made.hidden[KEY][half], first + second + third)


def test_an_interrupted_run_goes_on_with_the_same_halves(  # type: ignore[no-untyped-def]
    speech, corpus, made: Calibration, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, path=path, track=Stop(3))
    calibrate(speech, corpus, path=path)
    for half in (0, 1):
        found, expected = (c.hidden[KEY][half] for c in (Calibration.load(path), made))
        assert found.count == expected.count
        assert torch.equal(found.products, expected.products)


def test_a_run_goes_on_as_it_began(speech, corpus, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, units=False, path=path, track=Stop(1))
    assert calibrate(speech, corpus, units=True, path=path).hidden == {}
    assert "going on without hidden units" in caplog.text


def test_too_large_moments_are_taken_only_when_asked_for(  # type: ignore[no-untyped-def]
    speech, corpus, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    one = replace(corpus, utterances=corpus.utterances[:1])
    monkeypatch.setattr(places, "MOST_BYTES", 256**2 * 16 - 1)
    with caplog.at_level(logging.INFO, logger="liteasr"):
        assert calibrate(speech, one).hidden == {}
    assert "ask for them (--units)" in caplog.text
    assert set(calibrate(speech, one, units=True).hidden) == {KEY}
    monkeypatch.setattr(places, "MOST_BYTES", 256**2 * 16)
    assert set(calibrate(speech, one).hidden) == {KEY}
    assert calibrate(speech, one, units=False).hidden == {}


def test_one_recording_has_no_second_half(speech, corpus, caplog) -> None:  # type: ignore[no-untyped-def]
    alone = calibrate(speech, replace(corpus, utterances=corpus.utterances[:1]))
    with caplog.at_level(logging.INFO, logger="liteasr"):
        assert spectra_of(speech, alone).mlps == {}
    assert "two recordings or more" in caplog.text


def test_files_made_before_hidden_units_are_read(made: Calibration, tmp_path: Path) -> None:
    path, older = tmp_path / "m.safetensors", tmp_path / "older.safetensors"
    made.save(path)
    assert Calibration.load(path).hidden[KEY][1].count == made.hidden[KEY][1].count
    metadata = {k: v for k, v in read_metadata(path).items() if k not in ("hidden", "sha256")}
    tensors = {k: v for k, v in read_tensors(path).items() if not k.startswith(KEY)}
    write_tensors(older, tensors, metadata)
    found = Calibration.load(older)
    assert found.hidden == {}
    assert found.moments.keys() == made.moments.keys()


@pytest.mark.parametrize(
    ("value", "message"), [({KEY: [1]}, "1 halves"), ({"layers.7": [1, 2]}, "layers.7.0 are")]
)
def test_damaged_halves_are_named(made, tmp_path: Path, value, message) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.safetensors"
    made.save(path)
    metadata, tensors = read_metadata(path), read_tensors(path)
    write_tensors(path, tensors, {**metadata, "hidden": json.dumps(value)})
    with pytest.raises(CalibrationError, match=rf"damaged.*{message}"):
        Calibration.load(path)
