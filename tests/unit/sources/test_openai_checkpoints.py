"""An openai-whisper file becomes the same transformers model, and nothing in it is executed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from liteasr.errors import IntegrityError, SourceError
from liteasr.sources import SpeechModel, load_dense
from liteasr.sources.openai_whisper import rename_state

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, tiny_speech: SpeechModel) -> Save:
    def write(checkpoint: Any, **options: Any) -> Path:
        torch.save(checkpoint, tmp_path / "tiny-random.pt", **options)
        tiny_speech.processor.tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
        return tmp_path / "tiny-random.pt"

    return write


@pytest.mark.parametrize("zipped", [True, False])
def test_every_weight_comes_back(
    zipped: bool, save: Save, as_openai: Any, tiny_speech: SpeechModel
) -> None:
    path = save(as_openai(tiny_speech.model), _use_new_zipfile_serialization=zipped)
    loaded = load_dense(path)
    assert (loaded.name, loaded.origin) == ("whisper-tiny-random", str(path))
    for key, value in tiny_speech.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[key], value, rtol=0, atol=0)
    path.unlink()  # the weights are copies, not a map of the file
    features = torch.randn(1, 80, 3000)
    with torch.no_grad():
        found = loaded.model.model.encoder(features).last_hidden_state
        expected = tiny_speech.model.model.encoder(features).last_hidden_state
    torch.testing.assert_close(found, expected)


def test_half_precision_is_widened(save: Save, as_openai: Any, tiny_speech: SpeechModel) -> None:
    checkpoint = as_openai(tiny_speech.model)
    state = checkpoint["model_state_dict"]
    checkpoint["model_state_dict"] = {key: value.half() for key, value in state.items()}
    loaded = load_dense(save(checkpoint))
    assert {tensor.dtype for tensor in loaded.model.state_dict().values()} == {torch.float32}


class Payload:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-executed"),))


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_with_code_is_refused_and_not_executed(
    plain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if plain:
        path.write_bytes(pickle.dumps(Payload()))
    else:
        torch.save({"dims": Payload()}, path)
    with pytest.raises(SourceError, match="was not executed") as caught:
        load_dense(path)
    assert not isinstance(caught.value, IntegrityError)
    assert not (tmp_path / "was-executed").exists()


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_noticed(
    share: float, save: Save, as_openai: Any, tiny_speech: SpeechModel
) -> None:
    path = save(as_openai(tiny_speech.model))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_dense(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03"])
def test_a_file_of_a_few_bytes_is_noticed(content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "short.pt").write_bytes(content)
    with pytest.raises(IntegrityError, match="truncated or damaged"):
        load_dense(path)


def test_a_forbidden_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "secret.pt").write_bytes(b"PK")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        load_dense(path)


def without(name: str) -> Callable[[Any], Any]:
    def change(checkpoint: Any) -> Any:
        del checkpoint[name]
        return checkpoint

    return change


def without_dimension(checkpoint: Any) -> Any:
    del checkpoint["dims"]["n_mels"]
    return checkpoint


def without_weight(checkpoint: Any) -> Any:
    del checkpoint["model_state_dict"]["encoder.conv1.bias"]
    return checkpoint


def without_embedding(checkpoint: Any) -> Any:
    del checkpoint["model_state_dict"]["decoder.token_embedding.weight"]
    return checkpoint


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (without("dims"), "no openai-whisper checkpoint"),
        (without("model_state_dict"), "no openai-whisper checkpoint"),
        (lambda checkpoint: torch.zeros(3), "no openai-whisper checkpoint"),
        (without_dimension, "incomplete dimensions: 'n_mels'"),
        (without_weight, "does not hold a complete Whisper"),
        (without_embedding, "does not hold a complete Whisper"),
    ],
)
def test_incomplete_checkpoints_are_refused(
    change: Any, finding: str, save: Save, as_openai: Any, tiny_speech: SpeechModel
) -> None:
    with pytest.raises(SourceError, match=finding):
        load_dense(save(change(as_openai(tiny_speech.model))))


def test_renaming_copies(as_openai: Any, tiny_speech: SpeechModel) -> None:
    state = as_openai(tiny_speech.model)["model_state_dict"]
    renamed = rename_state(state)
    renamed["model.encoder.conv1.bias"].zero_()
    assert state["encoder.conv1.bias"].any()
