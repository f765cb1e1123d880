"""A whole model without PyTorch: decoding with ONNX Runtime alone equals transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from liteasr.audio import load_audio
from liteasr.errors import ExportError, StorageError, UnsupportedModelError
from liteasr.export import Precision, encoder_file, export_decoder, export_onnx
from liteasr.sources import SpeechModel, fetch, load_dense
from tiny_forms import mixed
from tiny_whisper import LANGUAGES, tiny_whisper


class OnnxOnly:
    """Greedy decoding as every user of the merged layout does it."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.encoder, self.decoder = (
            ort.InferenceSession(folder / "onnx" / f"{name}{suffix}.onnx", options)
            for name in ("encoder_model", "decoder_model_merged")
        )
        self.past = {
            value.name: value.shape
            for value in self.decoder.get_inputs()
            if value.name.startswith("past_key_values")
        }

    def decode(self, features: np.ndarray, prompt: list[int], eos: int, limit: int) -> list[int]:
        (states,) = self.encoder.run(["last_hidden_state"], {"input_features": features})
        cache = {
            name: np.zeros((0, shape[1], 0, shape[3]), np.float32)
            for name, shape in self.past.items()
        }
        names = [name.replace("past_key_values", "present") for name in cache]
        tokens = list(prompt)
        fed = np.array([prompt])
        while len(tokens) < limit and tokens[-1] != eos:
            logits, *present = self.decoder.run(
                ["logits", *names],
                {
                    "input_ids": fed,
                    "encoder_hidden_states": states,
                    "use_cache_branch": np.array([len(tokens) > len(prompt)]),
                    **cache,
                },
            )
            made = zip(cache, present, strict=True)
            cache |= {name: value for name, value in made if value.shape[0]}
            tokens.append(int(logits[0, -1].argmax()))
            fed = np.array([tokens[-1:]])
        return tokens


def prompt_of(config: Any, language: str = "en") -> list[int]:
    return [
        config.decoder_start_token_id,
        config.lang_to_id[f"<|{language}|>"],
        config.task_to_id["transcribe"],
        config.no_timestamps_token_id,
    ]


def greedy(speech: SpeechModel, features: np.ndarray, prompt: list[int], limit: int) -> list[int]:
    """Without the rules of Whisper's own ``generate``, one whole forward per token."""
    model = speech.model
    eos = model.config.eos_token_id
    tokens = list(prompt)
    with torch.inference_mode():
        states = model.get_encoder()(torch.from_numpy(features)).last_hidden_state
        while len(tokens) < limit and tokens[-1] != eos:
            made = model(encoder_outputs=(states,), decoder_input_ids=torch.tensor([tokens]))
            tokens.append(int(made.logits[0, -1].argmax()))
    return tokens


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    made = tiny_whisper()
    mixed(made)
    return made


@pytest.fixture(scope="module")
def folder(speech: SpeechModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "out"
    made = export_onnx(speech, path)
    assert made.encoder.relative < 1e-5
    assert made.decoder.relative < 1e-5
    assert made.bytes == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return path


@pytest.mark.parametrize("language", LANGUAGES)
def test_decodes_as_transformers_does(speech: SpeechModel, folder: Path, language: str) -> None:
    features = np.random.default_rng(1).standard_normal((1, 80, 3000), dtype=np.float32)
    prompt = prompt_of(speech.model.generation_config, language)
    eos = speech.model.config.eos_token_id
    found = OnnxOnly(folder).decode(features, prompt, eos, 24)
    assert found == greedy(speech, features, prompt, 24)
    assert len(found) > len(prompt) + 1


def test_an_untied_head_is_exported(tmp_path: Path) -> None:
    speech = tiny_whisper(tie_word_embeddings=False)
    model = speech.model
    model.proj_out.weight = nn.Parameter(torch.randn_like(model.proj_out.weight))
    assert export_decoder(speech, tmp_path / "d.onnx").relative < 1e-5


@pytest.mark.parametrize("name", ["encoder_model", "decoder_model_merged"])
def test_graphs_are_sound(folder: Path, name: str) -> None:
    onnx.checker.check_model(folder / "onnx" / f"{name}.onnx")


def test_the_directory_holds_languages_times_and_the_vocabulary(
    speech: SpeechModel, folder: Path
) -> None:
    names = {file.name for file in folder.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= names
    read = {
        name: json.loads((folder / name).read_text("utf-8"))
        for name in ("config.json", "generation_config.json", "vocab.json", "added_tokens.json")
    }
    assert read["config.json"]["model_type"] == "whisper"
    assert read["generation_config.json"]["lang_to_id"].keys() == {f"<|{c}|>" for c in LANGUAGES}
    vocabulary = read["vocab.json"] | read["added_tokens.json"]
    assert vocabulary == speech.processor.tokenizer.get_vocab()
    assert read["added_tokens.json"]["<|0.02|>"] > read["vocab.json"]["a"]


def test_second_files_are_announced(
    speech: SpeechModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteasr.export.graph.EXTERNAL_FROM_BYTES", 1)
    made = export_onnx(speech, tmp_path / "out").directory
    files = {file.name for file in (made / "onnx").iterdir()}
    assert "decoder_model_merged.onnx_data" in files
    config = json.loads((made / "config.json").read_text("utf-8"))
    announced = config["transformers.js_config"]["use_external_data_format"]
    assert announced == {"encoder_model.onnx": 1, "decoder_model_merged.onnx": 1}


def test_int8_is_smaller_and_close(speech: SpeechModel, folder: Path, tmp_path: Path) -> None:
    made = export_onnx(speech, tmp_path / "out", precision="int8")
    assert made.description.precision == "int8"
    assert 1e-4 < made.encoder.relative < 0.1
    assert 1e-4 < made.decoder.relative < 0.1
    for name in ("encoder_model", "decoder_model_merged"):
        small = made.directory / "onnx" / f"{name}_int8.onnx"
        assert small.stat().st_size < 0.7 * (folder / "onnx" / f"{name}.onnx").stat().st_size


def test_a_place_in_use_is_refused(speech: SpeechModel, folder: Path) -> None:
    with pytest.raises(StorageError, match="exists already"):
        export_onnx(speech, folder)


def test_decoders_that_are_not_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="exact 'gelu'"):
        export_decoder(tiny_whisper(activation_function="relu"), tmp_path / "d.onnx")
    speech = tiny_whisper()
    speech.model.config.model_type = "moonshine"
    with pytest.raises(UnsupportedModelError, match="'moonshine'"):
        export_decoder(speech, tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_the_decoder_of_base_is_close_in_int8(tmp_path: Path) -> None:
    agreement = export_decoder(load_dense("whisper-base"), tmp_path / "d.onnx", precision="int8")
    assert 1e-3 < agreement.relative < 0.2


@pytest.mark.real
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_sentence_without_pytorch(precision: Precision, tmp_path: Path) -> None:
    speech = load_dense("whisper-tiny.en")
    export_onnx(speech, tmp_path / "out", precision=precision)
    suffix = "_int8" if precision == "int8" else ""
    assert encoder_file(tmp_path / "out", precision).name == f"encoder_model{suffix}.onnx"
    waveform = load_audio(fetch("audioeval") / "en" / "quick_brown_fox.wav")
    features = speech.processor(waveform, sampling_rate=16_000, return_tensors="np").input_features
    config = speech.model.generation_config
    prompt = [config.decoder_start_token_id, config.no_timestamps_token_id]
    found = OnnxOnly(tmp_path / "out", suffix).decode(features, prompt, config.eos_token_id, 40)
    text = speech.processor.tokenizer.decode(found, skip_special_tokens=True)
    assert "quick brown fox" in text.lower()
    if precision == "float32":
        assert found == greedy(speech, features, prompt, 40)
