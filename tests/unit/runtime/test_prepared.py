"""A model that was opened once opens the next time from what it was made into."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import liteasr
from liteasr.errors import ExportError, StorageError
from liteasr.runtime import TranscriptionOptions, decoder_choice, loading, prepared
from liteasr.runtime.decoder_parts import SpecialTokens
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.sources import SpeechModel
from scripted_whisper import english_only, scripted

MakeWave = Callable[[int, float], np.ndarray]
OPTIONS = TranscriptionOptions(language="en", temperature=(0.0,), max_new_tokens=8,
                               compression_ratio_threshold=None)  # fmt: skip
CHOICES: dict[str, Any] = {"runtime": "faster-whisper", "encoder": "onnx"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path, tiny_speech: SpeechModel) -> Path:
    """A dense model that says "a" and no other word."""
    speech = scripted(english_only(tiny_speech), {"a": 10.0, "b": 9.0, "<|29.00|>": 12.0})
    place = tmp_path / "model"
    for part in (speech.model, speech.processor):
        part.save_pretrained(place)
    return place


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that were opened whole."""
    found: list[str] = []
    load = liteasr.checkpoint.load_model

    def noted(ref: Any, **options: Any) -> SpeechModel:
        found.append(Path(ref).name)
        return load(ref, **options)

    monkeypatch.setattr("liteasr.checkpoint.load_model", noted)
    return found


def test_the_second_start_opens_no_model(
    folder: Path, opened: list[str], babble: MakeWave, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = (liteasr.load_transcriber(folder, **CHOICES) for _ in range(2))
    assert opened == ["model"]
    assert isinstance(first, FasterWhisperTranscriber)
    assert isinstance(second, FasterWhisperTranscriber)
    assert second.parts == first.parts
    assert first.transcribe(babble(0, 2.0), OPTIONS) == second.transcribe(babble(0, 2.0), OPTIONS)
    (started, again) = (r.message for r in caplog.records if r.message.startswith("runtime:"))
    assert started == again


def test_a_model_that_is_fetched_by_the_first_start_is_known_to_the_second(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, away = liteasr.checkpoint.load_model, folder.rename(folder.with_name("away"))

    def fetched(ref: Any, **options: Any) -> SpeechModel:
        away.rename(folder)
        return load(ref, **options)

    monkeypatch.setattr("liteasr.checkpoint.load_model", fetched)
    for _ in range(2):
        liteasr.load_transcriber(folder, **CHOICES)
    assert opened == ["model"]


def test_auto_and_a_name_of_what_it_takes_are_one(folder: Path, opened: list[str]) -> None:
    liteasr.load_transcriber(folder, encoder="onnx")
    liteasr.load_transcriber(folder, runtime="faster-whisper", encoder="onnx", streams=2)
    liteasr.load_transcriber(folder, encoder="onnx", device="cpu")
    assert opened == ["model"]


def touched(folder: Path, cache: Path) -> None:
    file = folder / "model.safetensors"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


def without_encoder(folder: Path, cache: Path) -> None:
    (file,) = (cache / "onnx").iterdir()
    file.unlink()


def with_a_damaged_encoder(folder: Path, cache: Path) -> None:
    (file,) = (cache / "onnx").iterdir()
    file.write_bytes(file.read_bytes()[:1000])


def without_greedy(folder: Path, cache: Path) -> None:
    shutil.rmtree(cache / "greedy")


def garbled(folder: Path, cache: Path) -> None:
    (record,) = (cache / "prepared").iterdir()
    record.write_text("{")


def of_another_form(folder: Path, cache: Path) -> None:
    (record,) = (cache / "prepared").iterdir()
    values = json.loads(record.read_text())
    values["decoder"]["parrots"] = 1
    record.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    [
        touched,
        without_encoder,
        with_a_damaged_encoder,
        without_greedy,
        garbled,
        of_another_form,
    ],
)
def test_what_is_not_as_it_was_is_opened_anew(
    folder: Path, cache: Path, opened: list[str], change: Callable[[Path, Path], None]
) -> None:
    liteasr.load_transcriber(folder, **CHOICES)
    change(folder, cache)
    liteasr.load_transcriber(folder, **CHOICES)
    liteasr.load_transcriber(folder, **CHOICES)
    assert opened == ["model", "model"]


def test_other_choices_are_other_records(folder: Path, cache: Path, opened: list[str]) -> None:
    for choices in ({}, {"encoder": "onnx-int8"}, {"compute_type": "float32"}):
        liteasr.load_transcriber(folder, **{**CHOICES, **choices})
    assert len(list((cache / "prepared").iterdir())) == len(opened) == 3


@pytest.mark.parametrize(
    "choices", [{"runtime": "transformers"}, {"encoder": "torch"}, {"encoder": "torch-bfloat16"}]
)
def test_pytorch_leaves_no_record(folder: Path, cache: Path, choices: dict[str, Any]) -> None:
    liteasr.load_transcriber(folder, **choices)
    assert not (cache / "prepared").exists()


def test_where_a_gpu_may_be_pytorch_is_asked(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "may_have_gpu", lambda: True)
    for device in ("auto", "auto", "cpu", "cpu"):
        liteasr.load_transcriber(folder, encoder="onnx", device=device)
    assert opened == ["model"] * 3


def test_the_cache_may_move(
    folder: Path, cache: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    liteasr.load_transcriber(folder, **CHOICES)
    monkeypatch.setenv("LITEASR_CACHE", str(cache.rename(cache.with_name("moved"))))
    liteasr.load_transcriber(folder, **CHOICES)
    assert opened == ["model"]


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(prepared, "write_text", refuse)
    for _ in range(2):
        liteasr.load_transcriber(folder, **CHOICES)
    assert opened == ["model"] * 2


@pytest.mark.parametrize(
    ("model_type", "recorded"), [("liteasr", True), (None, True), ("whisper", False)]
)
def test_models_of_the_hub_have_one_where_they_are_downloaded_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model_type: str | None, recorded: bool
) -> None:
    monkeypatch.setattr(prepared, "read_config", lambda ref: {"model_type": model_type})
    monkeypatch.setattr(prepared, "download_folder", lambda ref: folder)
    found = prepared.record_of("owner/model", "onnx", "auto")
    assert (found == prepared.record_of(folder, "onnx", "auto")) == recorded
    assert (found is not None) == recorded


def test_a_decoder_that_could_not_be_made_is_tried_again(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ExportError("it differs")

    monkeypatch.setattr(decoder_choice, "greedy_directory", refuse)
    for _ in range(2):
        liteasr.load_transcriber(folder, **CHOICES)
    assert opened == ["model"] * 2


def test_only_files_of_this_machine_have_a_record(cache: Path, tmp_path: Path) -> None:
    assert prepared.record_of(tmp_path / "nothing", "onnx", "auto") is None
    assert prepared.record_of("whisper-base", "onnx", "auto") is None  # not fetched yet
    (cache / "whisper-base").mkdir(parents=True)
    (cache / "whisper-base" / "model.bin").touch()
    assert prepared.record_of("whisper-base", "onnx", "auto") is not None
    assert prepared.record_of(cache / "whisper-base" / "model.bin", "onnx", "auto") is not None
    assert prepared.record_of("whisper-base", "torch", "auto") is None


def test_neither_pytorch_nor_transformers_is_imported_then(
    folder: Path, cache: Path, babble: MakeWave, tmp_path: Path
) -> None:
    made = liteasr.load_transcriber(folder, **CHOICES)
    wave = tmp_path / "wave.npy"
    np.save(wave, babble(0, 2.0))
    code = (
        "import sys, numpy, liteasr\n"
        f"made = liteasr.load_transcriber({str(folder)!r}, **{CHOICES!r})\n"
        "options = liteasr.TranscriptionOptions(language='en', temperature=(0.0,), "
        "max_new_tokens=8, compression_ratio_threshold=None)\n"
        f"print(made.transcribe(numpy.load({str(wave)!r}), options).text)\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [made.transcribe(np.load(wave), OPTIONS).text, "[]"]


def test_special_tokens_are_those_of_the_generation_config(tiny_speech: SpeechModel) -> None:
    config = tiny_speech.model.generation_config
    config.eos_token_id, config.suppress_tokens = [7, 8], None
    tokens = SpecialTokens.of(config)
    assert (tokens.eos_token_id, tokens.suppress_tokens) == (7, ())
    assert tokens.lang_to_id == config.lang_to_id
