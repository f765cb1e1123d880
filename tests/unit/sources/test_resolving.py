"""One resolver: every kind of reference finds its source, every other one hears what to pass."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteasr.errors import SourceError
from liteasr.sources import available_models, load_dense
from liteasr.sources import bundled as bundled_module


@pytest.mark.parametrize(
    ("ref", "finding"),
    [
        ("whisper-small", "did you mean the hub's 'openai/whisper-small'"),
        ("whisper-large-v3-turbo", "did you mean the hub's 'openai/whisper-large-v3-turbo'"),
        ("whisper-huge", r"no model is named 'whisper-huge': .*whisper-base, whisper-tiny\.en"),
        ("two-cities", "no model is named"),
        ("./nowhere", r"no file or folder \./nowhere"),
        ("base.pt", r"no file or folder base\.pt"),
        ("a/b/c", "no file or folder a/b/c"),
    ],
)
def test_what_cannot_be_opened_says_what_can(ref: str, finding: str) -> None:
    with pytest.raises(SourceError, match=finding):
        load_dense(ref)


@pytest.mark.parametrize("model_type", ["liteasr", "lite-whisper"])
def test_compressed_checkpoints_are_sent_to_their_own_loader(
    model_type: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(SourceError, match=r"compressed checkpoint .*liteasr\.load_model"):
        load_dense(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no model"):
        load_dense(tmp_path)


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("model.bin", "one file of a model: pass its folder"),
        ("model.safetensors", "one file of a model: pass its folder"),
        ("talk.mp3", "is no model"),
    ],
)
def test_a_file_that_is_no_model_is_refused(name: str, finding: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SourceError, match=finding):
        load_dense(tmp_path / name)


def test_a_bundled_name_is_fetched(
    ct2_folder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import liteasr.sources.resolve as resolve

    folder = ct2_folder()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resolve, "fetch", lambda name, track: folder)
    loaded = load_dense("whisper-base")
    assert loaded.name == "whisper-base"
    assert "==1.0.0" in loaded.origin


def test_a_path_wins_over_a_bundled_name(
    ct2_folder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ct2_folder().rename(tmp_path / "whisper-base")
    monkeypatch.chdir(tmp_path)
    assert load_dense("whisper-base").origin == "whisper-base"


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def scan(repositories: dict[str, str | None]) -> Any:
        repos = []
        for name, config in repositories.items():
            snapshot = tmp_path / name.replace("/", "--")
            snapshot.mkdir()
            if config is not None:
                (snapshot / "config.json").write_text(config)
            revision = SimpleNamespace(snapshot_path=snapshot)
            repos.append(SimpleNamespace(
                repo_id=name, repo_type="model", revisions=[revision], size_on_disk=7))  # fmt: skip
        monkeypatch.setattr("huggingface_hub.scan_cache_dir", lambda: SimpleNamespace(repos=repos))

    return scan


def test_models_at_hand_are_listed(hub_cache: Any, cache: Path) -> None:
    hub_cache({
        "o/whisper": '{"model_type": "whisper"}', "a/ctc": '{"model_type": "wav2vec2"}',
        "b/text": '{"model_type": "bert"}', "c/none": None, "d/broken": "{", "e/odd": "[]",
        "f/number": '{"model_type": 3}',
    })  # fmt: skip
    found = available_models()
    names = [model.name for model in found]
    moonshines = ["moonshine-base", "moonshine-tiny"]
    assert names == ["whisper-base", "whisper-tiny.en", *moonshines, "a/ctc", "o/whisper"]
    assert [model.cached for model in found] == [False] * 4 + [True, True]
    assert found[0].size_bytes == bundled_module.bundled_asset("whisper-base").size_bytes
    assert found[4].size_bytes == 7


def test_no_hub_cache_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import CacheNotFound

    def missing() -> None:
        raise CacheNotFound("none", cache_dir=cache)

    monkeypatch.setattr("huggingface_hub.scan_cache_dir", missing)
    assert [model.kind for model in available_models()] == ["bundled"] * 4
