"""A Whisper written as CTranslate2 writes it comes back as the same transformers model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from liteasr.errors import IntegrityError, SourceError
from liteasr.sources import SpeechModel, load_dense

MakeFolder = Callable[..., Path]


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [("float32", 0.0), ("float16", 1e-3), ("bfloat16", 1e-2), ("int8", 1e-2), ("int16", 2e-3)],
)
def test_every_weight_comes_back(
    kind: str, tolerance: float, ct2_folder: MakeFolder, tiny_speech: SpeechModel
) -> None:
    loaded = load_dense(ct2_folder(kind))
    expected = tiny_speech.model.state_dict()
    found = loaded.model.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        largest = float(value.abs().max())
        torch.testing.assert_close(found[key], value, rtol=0, atol=tolerance * max(largest, 1e-9))


def test_the_model_is_whole(ct2_folder: MakeFolder, tiny_speech: SpeechModel) -> None:
    loaded = load_dense(ct2_folder())
    config, expected = loaded.model.config, tiny_speech.model.config
    for name in ("d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads",
                 "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim", "vocab_size",
                 "num_mel_bins", "max_source_positions", "max_target_positions",
                 "eos_token_id", "pad_token_id", "decoder_start_token_id"):  # fmt: skip
        assert getattr(config, name) == getattr(expected, name), name
    assert config._attn_implementation == "sdpa"
    assert not loaded.model.training
    assert loaded.model.proj_out.weight is loaded.model.model.decoder.embed_tokens.weight
    assert loaded.name == "ct2-float32"
    assert loaded.model.generation_config.lang_to_id.keys() == {"<|en|>", "<|de|>", "<|zh|>"}


def test_it_can_be_saved_and_loaded_with_transformers(
    ct2_folder: MakeFolder, tmp_path: Path, quiet_transformers: None
) -> None:
    loaded = load_dense(ct2_folder())
    target = tmp_path / "saved"
    loaded.model.save_pretrained(target)
    loaded.processor.save_pretrained(target)
    again = load_dense(target)
    for key, value in loaded.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[key], value, rtol=0, atol=0)
    assert again.model.generation_config.lang_to_id == loaded.model.generation_config.lang_to_id
    assert type(again.processor) is type(loaded.processor)
    words = "hello [world]"
    assert again.processor.tokenizer(words) == loaded.processor.tokenizer(words)


def test_config_json_has_the_last_word(ct2_folder: MakeFolder) -> None:
    folder = ct2_folder()
    said = {"alignment_heads": [[1, 2]], "suppress_ids": [5, 6], "suppress_ids_begin": [7]}
    (folder / "config.json").write_text(json.dumps(said))
    found = load_dense(folder).model.generation_config
    assert found.alignment_heads == [[1, 2]]
    assert found.suppress_tokens == [5, 6]
    assert found.begin_suppress_tokens == [7]


@pytest.mark.parametrize(
    ("said", "kind", "finding"),
    [
        ('{"alignment_heads": [[9, 9]]}', SourceError, r"alignment head \(9, 9\) is outside"),
        ('{"alignment_heads": [1]}', SourceError, "no CTranslate2 configuration"),
        ("{", IntegrityError, "not JSON"),
        ("[]", IntegrityError, "no JSON object"),
    ],
)
def test_a_bad_config_json_is_named(
    said: str, kind: type[Exception], finding: str, ct2_folder: MakeFolder
) -> None:
    folder = ct2_folder()
    (folder / "config.json").write_text(said)
    with pytest.raises(kind, match=finding):
        load_dense(folder)


def rewrite(folder: Path, change: Callable[[Any], None], binary: Any) -> Path:
    change(binary)
    (folder / "model.bin").write_bytes(binary.encode())
    return folder


def drop(name: str) -> Callable[[Any], None]:
    def change(binary: Any) -> None:
        binary.variables = [item for item in binary.variables if item[0] != name]

    return change


def replace(name: str, values: Any, kind: str = "float32") -> Callable[[Any], None]:
    def change(binary: Any) -> None:
        drop(name)(binary)
        binary.add(name, values, kind)

    return change


def untie(binary: Any) -> None:
    binary.aliases.clear()
    embedding = next(v for n, v, _ in binary.variables if n == "decoder/embeddings/weight")
    binary.add("decoder/projection/weight", embedding + 1)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (drop("encoder/num_heads"), "no variable encoder/num_heads"),
        (drop("decoder/layer_1/ffn/linear_1/bias"), "no variable decoder/layer_1/ffn"),
        (replace("decoder/activation", np.int8(0), "int8"), "uses activation 0"),
        (replace("encoder/layer_0/self_attention/linear_0/bias", np.ones(192)), "a key bias"),
        (replace("encoder/conv1/bias", np.ones(63)), "does not hold a complete Whisper"),
        (untie, "an output matrix of its own"),
    ],
)
def test_what_is_no_whisper_is_refused(
    change: Any, finding: str, ct2_folder: MakeFolder, ct2_binary: Any, tiny_speech: SpeechModel
) -> None:
    folder = rewrite(ct2_folder(), change, ct2_binary(tiny_speech.model))
    with pytest.raises(SourceError, match=finding):
        load_dense(folder)


def test_another_specification_is_refused(ct2_folder: MakeFolder) -> None:
    with pytest.raises(SourceError, match="holds a TransformerSpec, not a Whisper"):
        load_dense(ct2_folder(specification="TransformerSpec"))


def test_an_equal_output_matrix_counts_as_tied(
    ct2_folder: MakeFolder, ct2_binary: Any, tiny_speech: SpeechModel
) -> None:
    def copy(binary: Any) -> None:
        binary.aliases.clear()
        embedding = next(v for n, v, _ in binary.variables if n == "decoder/embeddings/weight")
        binary.add("decoder/projection/weight", embedding)

    loaded = load_dense(rewrite(ct2_folder(), copy, ct2_binary(tiny_speech.model)))
    assert loaded.model.proj_out.weight is loaded.model.model.decoder.embed_tokens.weight


def test_a_folder_without_a_tokenizer_is_refused(ct2_folder: MakeFolder) -> None:
    folder = ct2_folder()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"has no tokenizer\.json"):
        load_dense(folder)


@pytest.mark.parametrize("content", ["{", '{"added_tokens": 3}', "{}"])
def test_a_damaged_tokenizer_is_noticed(content: str, ct2_folder: MakeFolder) -> None:
    folder = ct2_folder()
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(IntegrityError, match="no readable tokenizer"):
        load_dense(folder)
