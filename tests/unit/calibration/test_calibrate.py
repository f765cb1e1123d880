import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from liteasr.calibration import Calibration, calibrate, session
from liteasr.corpus import load_corpus
from liteasr.encoders import Target, WhisperAdapter, adapter_for
from liteasr.errors import AudioError, CalibrationError, IntegrityError, PlanError, StorageError
from liteasr.lowrank import Moments
from liteasr.nn import LowRankLinear
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors
from stopping import Stop
from tiny_audio import write_wav


def assert_identical(a: Calibration, b: Calibration) -> None:
    assert a.provenance == b.provenance
    assert a.counted == b.counted
    assert a.moments.keys() == b.moments.keys()
    for key in a.moments:
        assert a.moments[key].count == b.moments[key].count
        assert torch.equal(a.moments[key].total, b.moments[key].total)
        assert torch.equal(a.moments[key].products, b.moments[key].products)


def test_moments_are_those_of_all_activations(tiny_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    corpus = load_corpus(recordings)
    made = calibrate(tiny_speech, corpus, frames="speech")
    encoder = tiny_speech.model.get_encoder()
    adapter, inputs = adapter_for(tiny_speech.model), []
    handle = encoder.layers[1].fc1.register_forward_pre_hook(lambda m, x: inputs.append(x[0]))
    for utterance in corpus:
        (window,) = adapter.inputs(tiny_speech.processor, utterance.load())
        with torch.inference_mode():
            encoder(**window.tensors)
        inputs[-1] = inputs[-1][0, : window.valid_positions]
    handle.remove()
    expected = Moments.of(torch.cat(inputs))
    found = made.moments["layers.1.fc1.input"]
    assert found.count == expected.count == made.frames
    torch.testing.assert_close(found.products, expected.products, rtol=1e-12, atol=1e-9)


def test_four_moments_a_block_and_one_of_the_convolution(tiny_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    made = calibrate(tiny_speech, load_corpus(recordings))
    assert len(made.moments) == 9
    assert made.complete
    assert made.provenance.duration_s == pytest.approx(sum(1.5 + s / 2 for s in range(6)))


def test_padding_counts_as_it_is_asked(tiny_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    corpus = load_corpus(recordings)
    speech = calibrate(tiny_speech, corpus, frames="speech")
    everything = calibrate(tiny_speech, corpus, frames="all")
    audio = [int(50 * (1.5 + s / 2)) for s in range(6)]
    assert everything.frames == 6 * 1500
    assert speech.frames == sum(audio)
    balanced = calibrate(tiny_speech, corpus)
    assert balanced.frames == sum(valid + len(range(valid, 1500, 4)) for valid in audio)
    with pytest.raises(ValueError, match="frames must be one of balanced, all, speech, got 'some'"):
        calibrate(tiny_speech, corpus, frames="some")  # type: ignore[arg-type]


def test_file_round_trip(tiny_speech, recordings: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "moments.safetensors"
    made = calibrate(tiny_speech, load_corpus(recordings), path=path)
    assert_identical(Calibration.load(path), made)
    assert set(made.provenance.versions) == {"liteasr", "torch", "transformers"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("after", [1, 4])
def test_interrupted_and_resumed_equals_uninterrupted(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path, after: int
) -> None:
    corpus, path = load_corpus(recordings), tmp_path / "moments.safetensors"
    whole = calibrate(tiny_speech, corpus)
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny_speech, corpus, path=path, track=Stop(after))
    partial = Calibration.load(tmp_path / "moments.safetensors.partial")
    assert partial.provenance.utterances == after
    assert not partial.complete
    assert not path.exists()
    assert_identical(calibrate(tiny_speech, corpus, path=path), whole)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_does_not_hide_why_a_run_stopped(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    def full(calibration: Calibration, path: Path) -> None:
        raise StorageError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(Calibration, "save", full)
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny_speech, load_corpus(recordings), path=tmp_path / "m", track=Stop(2))
    assert "2 of 6 utterances, which cannot be kept" in caplog.text
    assert "No space left" in caplog.text


def test_interrupted_inside_an_utterance_counts_none_of_it(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path
) -> None:
    calls = []

    def interrupt(module, inputs, output):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    handle = tiny_speech.model.get_encoder().layers[0].register_forward_hook(interrupt)
    path = tmp_path / "moments.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny_speech, load_corpus(recordings), path=path)
    handle.remove()
    assert Calibration.load(tmp_path / "moments.safetensors.partial").provenance.utterances == 2
    resumed = calibrate(tiny_speech, load_corpus(recordings), path=path)
    assert_identical(resumed, calibrate(tiny_speech, load_corpus(recordings)))


def test_progress_is_saved_on_the_way(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SAVE_EVERY_S", 0.0)
    saved: list[int] = []
    real = Calibration.save
    monkeypatch.setattr(
        Calibration, "save", lambda c, p: (saved.append(c.provenance.utterances), real(c, p))[1]
    )
    calibrate(tiny_speech, load_corpus(recordings), path=tmp_path / "m.safetensors")
    assert saved == [1, 2, 3, 4, 5, 6, 6]


def test_targets_are_not_listed_again_for_every_utterance(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path, monkeypatch
) -> None:
    listed: list[object] = []
    real = WhisperAdapter.targets

    def targets(adapter: WhisperAdapter, encoder: nn.Module) -> tuple[Target, ...]:
        listed.append(encoder)
        return real(adapter, encoder)

    monkeypatch.setattr(WhisperAdapter, "targets", targets)
    calibrate(tiny_speech, load_corpus(recordings / "clip-0.wav"))
    once = len(listed)
    calibrate(tiny_speech, load_corpus(recordings))
    assert len(listed) == 2 * once


def test_a_finished_file_is_reused(tiny_speech, recordings: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "moments.safetensors"
    made = calibrate(tiny_speech, load_corpus(recordings), path=path)
    assert_identical(
        calibrate(tiny_speech, load_corpus(recordings), path=path, track=Stop(0)), made
    )


def test_moments_of_another_task_are_not_overwritten(  # type: ignore[no-untyped-def]
    tiny_speech, make_speech, recordings: Path, tmp_path: Path
) -> None:
    path = tmp_path / "moments.safetensors"
    corpus = load_corpus(recordings)
    calibrate(tiny_speech, corpus, path=path)
    before = path.read_bytes()
    with pytest.raises(CalibrationError, match="delete it or choose another file"):
        calibrate(tiny_speech, corpus, frames="speech", path=path)
    with pytest.raises(CalibrationError, match="another model"):
        calibrate(make_speech(seed=5), corpus, path=path)
    assert path.read_bytes() == before


def test_compressed_models_are_refused(tiny_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    tiny_speech.model.get_encoder().layers[1].fc1 = LowRankLinear(64, 256, 16)
    with pytest.raises(PlanError, match=r"layers\.1\.fc1 is a LowRankLinear.*original model"):
        calibrate(tiny_speech, load_corpus(recordings))


def test_nan_activations_name_the_place_and_the_recording(tiny_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        tiny_speech.model.get_encoder().layers[1].fc1.bias[0] = float("inf")
    with pytest.raises(CalibrationError, match=r"clip-0.*layers\.1\.fc2\.output.*NaN or Inf"):
        calibrate(tiny_speech, load_corpus(recordings))


def test_a_broken_recording_loses_nothing(tiny_speech, babble, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_wav(tmp_path / "a.wav", babble(0, 1.0))
    (tmp_path / "b.wav").write_bytes(b"RIFF not a wav at all")
    path = tmp_path / "out" / "moments.safetensors"
    with pytest.raises(AudioError, match=r"b\.wav"):
        calibrate(tiny_speech, load_corpus(tmp_path), path=path)
    partial = Calibration.load(path.with_name("moments.safetensors.partial"))
    assert partial.provenance.utterances == 1


def test_resuming_without_the_broken_recording_equals_a_fresh_run(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path
) -> None:
    folder, path = tmp_path / "audio", tmp_path / "moments.safetensors"
    shutil.copytree(recordings, folder)
    (folder / "clip-2b.wav").write_bytes(b"RIFF not a wav at all")
    with pytest.raises(AudioError, match="clip-2b"):
        calibrate(tiny_speech, load_corpus(folder), path=path)
    (folder / "clip-2b.wav").unlink()
    counted: list[str] = []

    def seen(items, *, description, total=None):  # type: ignore[no-untyped-def]
        for utterance, digest in items:
            counted.append(utterance.id)
            yield utterance, digest

    resumed = calibrate(tiny_speech, load_corpus(folder), path=path, track=seen)
    assert counted == ["clip-3.wav", "clip-4.wav", "clip-5.wav"]
    assert_identical(resumed, calibrate(tiny_speech, load_corpus(folder)))
    assert_identical(resumed, Calibration.load(path))
    assert not path.with_name("moments.safetensors.partial").exists()


def test_removing_the_last_and_broken_recording_leaves_nothing_to_count(  # type: ignore[no-untyped-def]
    tiny_speech, babble, tmp_path: Path
) -> None:
    folder, path = tmp_path / "audio", tmp_path / "moments.safetensors"
    folder.mkdir()
    clip = write_wav(folder / "a.wav", babble(0, 1.0))
    shutil.copy(clip, folder / "b.wav")  # the same audio twice counts twice
    (folder / "c.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"c\.wav"):
        calibrate(tiny_speech, load_corpus(folder), path=path)
    (folder / "c.wav").unlink()
    made = calibrate(tiny_speech, load_corpus(folder), path=path)
    assert made.complete
    assert made.frames == 2 * calibrate(tiny_speech, load_corpus(clip)).frames
    assert_identical(Calibration.load(path), made)


def test_other_samples_of_a_corpus_that_hold_what_is_counted_resume(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path
) -> None:
    corpus, path = load_corpus(recordings), tmp_path / "moments.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny_speech, corpus.sample(6, seed=1), path=path, track=Stop(2))
    resumed = calibrate(tiny_speech, corpus, path=path)
    whole = calibrate(tiny_speech, corpus)
    assert resumed.provenance == whole.provenance
    for key, moments in whole.moments.items():
        torch.testing.assert_close(resumed.moments[key].products, moments.products)


def test_a_corpus_without_a_counted_recording_is_refused(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path
) -> None:
    folder, path = tmp_path / "audio", tmp_path / "moments.safetensors"
    shutil.copytree(recordings, folder)
    with pytest.raises(KeyboardInterrupt):
        calibrate(tiny_speech, load_corpus(folder), path=path, track=Stop(3))
    (folder / "clip-1.wav").unlink()
    with pytest.raises(CalibrationError, match=r"counted 3 recordings and 1 of them .*delete the"):
        calibrate(tiny_speech, load_corpus(folder), path=path)
    with pytest.raises(CalibrationError, match="choice of frames"):
        calibrate(tiny_speech, load_corpus(recordings), path=path, frames="speech")


def test_short_calibration_warns_with_the_numbers(  # type: ignore[no-untyped-def]
    tiny_speech, recordings: Path, tmp_path: Path, babble, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        calibrate(tiny_speech, load_corpus(recordings))  # 825 frames of audio, 640 needed
    assert caplog.text == ""
    clip = write_wav(tmp_path / "short.wav", babble(0, 2.0))
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        calibrate(tiny_speech, load_corpus(clip))
    assert "100 frames" in caplog.text
    assert "10 x the width 64" in caplog.text
    assert "at least 640 frames" in caplog.text


def test_silence_is_pointed_out(tiny_speech, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    clip = write_wav(tmp_path / "silence.wav", np.zeros(16_000, dtype=np.float32))
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        calibrate(tiny_speech, load_corpus(clip))
    assert "silent" in caplog.text


def test_files_that_are_not_moments_are_refused(tiny_speech, recordings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CalibrationError, match="liteasr calibrate"):
        Calibration.load(tmp_path / "none.safetensors")
    write_tensors(tmp_path / "other.safetensors", {"a": torch.ones(1)}, {"format": "x"})
    with pytest.raises(CalibrationError, match="not a moments file"):
        Calibration.load(tmp_path / "other.safetensors")
    path = tmp_path / "moments.safetensors"
    calibrate(tiny_speech, load_corpus(recordings), path=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="SHA-256"):
        Calibration.load(path)


@pytest.fixture
def stored(tiny_speech, recordings: Path, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    path = tmp_path / "moments.safetensors"
    calibrate(tiny_speech, load_corpus(recordings), path=path)
    return path


def changed(path: Path, name: str, text: str | None) -> None:
    """Rewrite one entry of the metadata, or leave it out."""
    metadata, tensors = read_metadata(path), read_tensors(path)
    metadata.pop(name)
    write_tensors(path, tensors, metadata if text is None else {**metadata, name: text})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("version", None, "version ''"),
        ("version", "one", "version 'one'"),
        ("version", "2", "version '2'"),
        ("provenance", None, "'provenance' is missing"),
        ("provenance", "{", "not JSON"),
        ("provenance", "[]", "'provenance' must be"),
        ("provenance", "{}", "'model' is missing"),
        ("counts", None, "'counts' is missing"),
        ("counts", '{"layers.0.fc1.input": "many"}', "'counts' must be"),
        ("counts", '{"layers.9.fc1.input": 3}', "moments at layers.9.fc1.input are missing"),
        ("counted", '"all"', "'counted' must be"),
    ],
)
def test_damaged_metadata_are_named(stored: Path, name: str, text: str | None, message) -> None:  # type: ignore[no-untyped-def]
    changed(stored, name, text)
    with pytest.raises(CalibrationError, match=rf"moments\.safetensors.*{message}"):
        Calibration.load(stored)


def test_provenance_of_the_future_is_dropped_and_that_of_another_type_named(stored: Path) -> None:
    made = Calibration.load(stored)
    provenance = json.loads(read_metadata(stored)["provenance"])
    changed(stored, "provenance", json.dumps({**provenance, "sparkle": [1]}))
    assert_identical(Calibration.load(stored), made)
    changed(stored, "provenance", json.dumps({**provenance, "utterances": "six"}))
    with pytest.raises(CalibrationError, match="'utterances' must be int, got 'six'"):
        Calibration.load(stored)


def test_calibration_works_in_the_dtype_of_the_model(tiny_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    tiny_speech.model.to(torch.bfloat16)
    made = calibrate(tiny_speech, load_corpus(recordings))
    assert all(moments.products.dtype == torch.float64 for moments in made.moments.values())
