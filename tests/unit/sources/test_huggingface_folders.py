"""A transformers folder opens whole, or the error names what is wrong with it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from liteasr.errors import IntegrityError, SourceError
from liteasr.sources import SpeechModel, load_dense
from liteasr.sources.hub import find_damaged_weights, hub_errors, read_config

pytestmark = pytest.mark.usefixtures("quiet_transformers")

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(speech: SpeechModel, **options: Any) -> Path:
        folder = tmp_path / "saved"
        speech.model.save_pretrained(folder, **options)
        speech.processor.save_pretrained(folder)
        return folder

    return write


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


@pytest.mark.parametrize("shard", ["50GB", "200KB"])
def test_every_weight_comes_back(shard: str, save: Save, tiny_speech: SpeechModel) -> None:
    folder = save(tiny_speech, max_shard_size=shard)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (shard == "200KB")
    loaded = load_dense(folder)
    assert (loaded.name, loaded.origin) == ("saved", str(folder))
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32
    for key, value in tiny_speech.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[key], value, rtol=0, atol=0)


def test_half_precision_is_widened(save: Save, tiny_speech: SpeechModel) -> None:
    tiny_speech.model.half()
    assert load_dense(save(tiny_speech)).model.dtype == torch.float32


def test_a_missing_generation_config_is_completed(save: Save, tiny_speech: SpeechModel) -> None:
    folder = save(tiny_speech)
    (folder / "generation_config.json").unlink()
    found = load_dense(folder).model.generation_config
    given = tiny_speech.model.generation_config
    for name in ("lang_to_id", "task_to_id", "no_timestamps_token_id", "prev_sot_token_id",
                 "is_multilingual", "max_initial_timestamp_index", "eos_token_id",
                 "decoder_start_token_id", "max_length"):  # fmt: skip
        assert getattr(found, name) == getattr(given, name), name
    assert found.alignment_heads == [[1, head] for head in range(4)]
    assert given.no_timestamps_token_id - 1 in found.suppress_tokens
    assert found.begin_suppress_tokens[1] == given.eos_token_id
    assert found.forced_decoder_ids is None
    assert found.return_timestamps is False


def test_what_the_generation_config_says_stays(save: Save, tiny_speech: SpeechModel) -> None:
    folder = save(tiny_speech)
    said = {"suppress_tokens": [], "max_length": 32, "forced_decoder_ids": [[1, 3]]}
    edit(folder / "generation_config.json", prev_sot_token_id=..., **said)
    found = load_dense(folder).model.generation_config
    assert found.alignment_heads == [[0, 0]]
    assert found.suppress_tokens == []
    assert found.max_length == 32
    assert found.prev_sot_token_id == tiny_speech.model.generation_config.prev_sot_token_id
    assert found.forced_decoder_ids is None


def test_the_completed_model_generates(save: Save, tiny_speech: SpeechModel) -> None:
    folder = save(tiny_speech)
    (folder / "generation_config.json").unlink()
    loaded = load_dense(folder)
    features = torch.randn(1, 80, 3000)
    ids = loaded.model.generate(features, language="de", task="transcribe", max_new_tokens=4)
    assert ids.shape[0] == 1


def test_an_unsupported_folder_is_refused_before_weights_are_read(
    save: Save, tiny_speech: SpeechModel
) -> None:
    folder = save(tiny_speech)
    edit(folder / "config.json", model_type="bert", architectures=["BertModel"])
    with pytest.raises(SourceError, match="cannot be opened with transformers"):
        load_dense(folder)


def test_code_in_a_folder_is_never_run(save: Save, tiny_speech: SpeechModel) -> None:
    folder = save(tiny_speech)
    edit(folder / "config.json", model_type="custom",
         auto_map={"AutoConfig": "code.C", "AutoModelForSpeechSeq2Seq": "code.M"})  # fmt: skip
    (folder / "code.py").write_text("raise SystemExit('executed')")
    with pytest.raises(SourceError, match="cannot be opened with transformers"):
        load_dense(folder)


@pytest.mark.parametrize(
    ("pattern", "kind"), [("tokenizer*", "tokenizer"), ("*processor_config.json", "preprocessor")]
)
def test_a_missing_processor_is_named(
    pattern: str, kind: str, save: Save, tiny_speech: SpeechModel
) -> None:
    folder = save(tiny_speech)
    for path in folder.glob(pattern):
        path.unlink()
    with pytest.raises(SourceError, match=f"has no {kind}"):
        load_dense(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_named_with_their_hash(
    share: float, save: Save, tiny_speech: SpeechModel
) -> None:
    folder = save(tiny_speech, max_shard_size="200KB")
    path = sorted(folder.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(IntegrityError) as caught:
        load_dense(folder)
    assert str(path) in str(caught.value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(caught.value)


def test_a_missing_shard_is_named(save: Save, tiny_speech: SpeechModel) -> None:
    folder = save(tiny_speech, max_shard_size="200KB")
    path = sorted(folder.glob("*.safetensors"))[1]
    path.unlink()
    with pytest.raises(SourceError, match="cannot be opened"):
        load_dense(folder)


def test_missing_weights_are_not_made_up(save: Save, tiny_speech: SpeechModel) -> None:
    from safetensors.torch import load_file, save_file

    path = save(tiny_speech) / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.encoder.layers.0.fc1.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(
        SourceError, match=r"lacks 1 weights, such as model\.encoder\.layers\.0\.fc1"
    ):
        load_dense(path.parent)


def test_ctc_models_open_too(tmp_path: Path) -> None:
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3}))
    tokenizer = Wav2Vec2CTCTokenizer(tmp_path / "vocab.json", bos_token=None, eos_token=None)
    config = Wav2Vec2Config(
        vocab_size=4, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 4),
        num_feat_extract_layers=2, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(tmp_path)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(tmp_path)
    loaded = load_dense(tmp_path)
    assert type(loaded.model).__name__ == "Wav2Vec2ForCTC"
    assert loaded.processor.tokenizer.get_vocab()["a"] == 3


@pytest.mark.parametrize(
    ("raised", "asked", "finding"),
    [
        (
            LocalEntryNotFoundError("x"),
            {},
            "^a/b is not in .* hub cannot be reached: check the net",
        ),
        (LocalEntryNotFoundError("x"), {"file": "f"}, "^f of a/b is not in the local cache"),
        (LocalEntryNotFoundError("x"), {"local_files_only": True}, "leave local_files_only out"),
        (OfflineModeIsEnabled("x"), {}, "hub cannot be reached"),
        (EntryNotFoundError("x"), {"file": "config.json"}, r"a/b has no config\.json"),
        (EntryNotFoundError("x"), {}, "a/b has no such file"),
        (PermissionError("no entry"), {}, "a/b cannot be fetched: no entry"),
        (ValueError("bad name"), {"revision": "v2"}, "a/b at revision v2 cannot be .*: bad name"),
    ],
)
def test_hub_errors_hold_the_fix(raised: Exception, asked: Any, finding: str) -> None:
    with pytest.raises(SourceError, match=finding), hub_errors("a/b", **asked):
        raise raised


def test_offline_mode_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="unset HF_HUB_OFFLINE"), hub_errors("a/b"):
        raise OfflineModeIsEnabled("x")


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        (GatedRepoError, "a/b is gated: accept its terms at https://.*/a/b"),
        (RepositoryNotFoundError, "hub has no model a/b, or it is private"),
        (RevisionNotFoundError, "there is no a/b at revision v2"),
    ],
)
def test_refusals_of_the_hub_hold_the_fix(kind: Any, finding: str) -> None:
    raised = kind.__new__(kind)  # its constructor wants a whole response
    with pytest.raises(SourceError, match=finding), hub_errors("a/b", revision="v2"):
        raise raised


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub that has one repository: the folder given back."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda ref, name: str(folder / name))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda ref, **_: str(folder))
    return folder


def test_a_hub_repository_is_read_like_a_folder(
    hub: Path, save: Save, tiny_speech: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import liteasr.sources.huggingface as huggingface

    tiny_speech.model.save_pretrained(hub)
    assert read_config("some/model")["model_type"] == "whisper"
    assert find_damaged_weights("some/model") is None
    (hub / "model.safetensors").write_bytes(b"short")
    assert find_damaged_weights("some/model") == hub / "model.safetensors"
    monkeypatch.setattr(huggingface, "_load_model", lambda ref, raw: tiny_speech.model)
    monkeypatch.setattr(
        "transformers.AutoProcessor.from_pretrained", lambda ref, **_: tiny_speech.processor
    )
    loaded = load_dense("some/model")
    assert (loaded.name, loaded.origin) == ("model", "some/model")


def test_a_ctranslate2_repository_opens_too(hub: Path, ct2_folder: Any) -> None:
    (hub / "config.json").write_text("{}")
    for path in ct2_folder().iterdir():
        path.rename(hub / path.name)
    loaded = load_dense("some/faster-whisper")
    assert (loaded.name, loaded.origin) == ("faster-whisper", "some/faster-whisper")


def test_damage_in_a_hub_repository_without_a_damaged_header_is_still_named(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    import liteasr.sources.huggingface as huggingface

    (hub / "config.json").write_text('{"model_type": "whisper"}')

    def fail(ref: str, raw: Any) -> None:
        raise SafetensorError("odd")

    monkeypatch.setattr(huggingface, "_load_model", fail)
    with pytest.raises(IntegrityError, match="some/model is truncated or damaged: odd"):
        load_dense("some/model")
