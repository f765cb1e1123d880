import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import liteasr
from liteasr.checkpoint import CompressedModel, is_checkpoint, load, load_model, store
from liteasr.checkpoint.format import read_config
from liteasr.encoders import adapter_for
from liteasr.errors import CheckpointError, IntegrityError, LiteASRError, SourceError, StorageError
from liteasr.nn import LowRankLinear
from liteasr.plan import ThresholdConfig
from liteasr.sources import SpeechModel, fetch

LAYOUTS = ("liteasr", "lite-whisper")


@pytest.fixture
def lite(tiny_speech: SpeechModel, recordings: Path) -> CompressedModel:
    config = ThresholdConfig(attention=0.97, mlp=0.9)
    made = liteasr.compress(tiny_speech, audio=recordings, config=config)
    forms = {layer.form for layer in made.plan}
    assert forms == {"chain", "dense"}, "the fixture must cover both"
    return made


def encode(speech: SpeechModel, babble) -> torch.Tensor:  # type: ignore[no-untyped-def]
    (window,) = adapter_for(speech.model).inputs(speech.processor, babble(9, 3.0))
    with torch.inference_mode():
        output: torch.Tensor = speech.model.get_encoder()(**window.tensors).last_hidden_state
    return output


@pytest.mark.parametrize("layout", LAYOUTS)
def test_saved_and_loaded_gives_the_same_output(lite, layout, tmp_path: Path, babble) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout=layout)
    again = load(path)
    torch.testing.assert_close(encode(again.speech, babble), encode(lite.speech, babble))
    assert again.plan == lite.plan
    assert again.report == lite.report
    assert again.calibration == lite.calibration
    assert again.speech.model.proj_out.weight is again.speech.model.get_input_embeddings().weight
    assert not again.speech.model.training
    assert [path.name for path in tmp_path.iterdir()] == ["lite"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_a_decoder_needs_is_kept(lite, layout, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    again = load(lite.save(tmp_path / "lite", layout=layout)).speech
    before, after = (m.model.generation_config.to_dict() for m in (lite.speech, again))
    for name in (
        "lang_to_id", "task_to_id", "alignment_heads", "no_timestamps_token_id", "max_length",
        "decoder_start_token_id", "is_multilingual", "prev_sot_token_id",
    ):  # fmt: skip
        assert after[name] == before[name], name
    text = "<|en|> Hello, 世界"
    plain = {"add_special_tokens": False}
    assert again.processor.tokenizer(text, **plain) == lite.speech.processor.tokenizer(
        text, **plain
    )
    assert again.processor.feature_extractor.feature_size == 80


@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_precision_stays_half(lite, layout, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    lite.speech.model.to(torch.float16)
    again = load(lite.save(tmp_path / "lite", layout=layout)).speech
    assert {p.dtype for p in again.model.parameters()} == {torch.float16}


def test_tied_weights_are_stored_once(lite: CompressedModel, tmp_path: Path) -> None:
    weights = load_file(lite.save(tmp_path / "lite") / "model.safetensors")
    assert "proj_out.weight" not in weights
    assert "model.decoder.embed_tokens.weight" in weights


def test_published_layout_is_the_published_one(lite: CompressedModel, tmp_path: Path) -> None:
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    config = json.loads((path / "config.json").read_text())
    assert config["model_type"] == "lite-whisper"
    assert len(config["low_rank_config"]) == 2
    assert "auto_map" in config
    weights = load_file(path / "model.safetensors")
    encoder = lite.speech.model.get_encoder()
    for layer in lite.plan:
        name = f"model.encoder.{layer.name}"
        block, role = int(layer.name.split(".")[1]), layer.name.split(".")[-1]
        assert config["low_rank_config"][block].get(role) == layer.rank
        if layer.rank is None:
            assert f"{name}.weight" in weights
            continue
        module = encoder.get_submodule(layer.name)
        assert torch.equal(weights[f"{name}.weight1"], module.down.weight.T)
        assert torch.equal(weights[f"{name}.weight2"], module.up.weight.T)
        assert torch.equal(weights[f"{name}.bias"], module.up.bias)


def test_published_repositories_without_our_manifest_open(  # type: ignore[no-untyped-def]
    lite, tmp_path: Path, babble
) -> None:
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    (path / "liteasr.json").unlink()
    again = load(path)
    torch.testing.assert_close(encode(again.speech, babble), encode(lite.speech, babble))
    assert again.calibration is None
    assert again.plan.rule == "published"
    assert [(x.name, x.rank) for x in sorted(again.plan, key=lambda x: x.name)] == [
        (x.name, x.rank) for x in sorted(lite.plan, key=lambda x: x.name)
    ]
    assert again.report == lite.report


def test_load_model_opens_both_kinds(lite: CompressedModel, tmp_path: Path) -> None:
    path = lite.save(tmp_path / "lite")
    assert is_checkpoint(path)
    opened = load_model(path).model
    assert any(isinstance(module, LowRankLinear) for module in opened.modules())
    with pytest.raises(SourceError):
        load_model(tmp_path)


def test_an_existing_checkpoint_is_kept_unless_asked(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    with pytest.raises(StorageError, match="exists already"):
        lite.save(path)
    lite.save(path, overwrite=True, layout="lite-whisper")
    assert json.loads((path / "config.json").read_text())["model_type"] == "lite-whisper"


def test_only_checkpoints_are_overwritten(lite, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    folder, file, empty = (tmp_path / name for name in ("photos", "notes.txt", "empty"))
    folder.mkdir()
    empty.mkdir()
    for kept in (folder / "photo", file):
        kept.write_text("keep me")
    for place in (folder, file):
        with pytest.raises(StorageError, match=f"{place} is no liteasr checkpoint"):
            lite.save(place, overwrite=True)
    assert (folder / "photo").read_text() == file.read_text() == "keep me"
    assert is_checkpoint(lite.save(empty, overwrite=True))
    monkeypatch.chdir(empty)
    for place in (".", "..", "/"):
        with pytest.raises(StorageError, match="current directory"):
            lite.save(place, overwrite=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_current_directory_has_a_name(lite, layout, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout=layout)
    monkeypatch.chdir(path)
    assert load(".").speech.name == "lite"


def test_a_full_disk_leaves_nothing_half_written(lite, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    before = {file.name: file.read_bytes() for file in path.iterdir()}

    def full(weights: object, folder: Path, **_: object) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("huggingface_hub.save_torch_state_dict", full)
    with pytest.raises(StorageError, match="No space left"):
        lite.save(path, overwrite=True)
    with pytest.raises(StorageError, match="No space left"):
        lite.save(tmp_path / "other")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [item.name for item in tmp_path.iterdir()] == ["lite"]


def damage(path: Path, kind: str) -> None:
    weights = path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if kind == "truncated":
        weights.write_bytes(content[:-64])
    else:
        content[-5] ^= 1
        weights.write_bytes(content)


@pytest.mark.parametrize("kind", ["truncated", "one bit changed"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_weights_are_named_with_both_hashes(lite, layout, kind, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout=layout)
    expected = json.loads((path / "liteasr.json").read_text())["files"]["model.safetensors"]
    damage(path, kind)
    with pytest.raises(IntegrityError, match=rf"model\.safetensors.*{expected}"):
        load(path)


def test_truncation_is_noticed_without_a_manifest_too(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    (path / "liteasr.json").unlink()
    damage(path, "truncated")
    with pytest.raises(IntegrityError, match="SHA-256"):
        load(path)


@pytest.mark.parametrize(
    "missing",
    ["config.json", "liteasr.json", "model.safetensors", "tokenizer.json"],
)
def test_missing_files_are_named(lite, missing: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    (path / missing).unlink()
    with pytest.raises(LiteASRError):
        load(path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "{", "does not hold JSON"),
        ("config.json", "[]", "expected an object"),
        ("config.json", '{"model_type": "whisper"}', "not a compressed checkpoint"),
        ("config.json", '{"model_type": "liteasr"}', "base_config"),
        (
            "config.json",
            '{"model_type": "liteasr", "architecture": "A", "base_config": {"model_type": "x"}}',
            "config.json: this transformers knows no base model_type 'x'",
        ),
        ("liteasr.json", "{}", "format version None"),
        ("liteasr.json", '{"version": 99}', "upgrade liteasr"),
        ("liteasr.json", '{"version": 1}', "incomplete"),
        ("generation_config.json", "{", "generation_config.json is damaged"),
    ],
)
def test_damaged_texts_say_what_is_wrong(lite, tmp_path: Path, file, text, message) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    (path / file).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_an_architecture_of_the_future_is_named(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    config = json.loads((path / "config.json").read_text())
    config["architecture"] = "SparkleForConditionalGeneration"
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="SparkleForConditionalGeneration: upgrade it"):
        load(path)


def test_keys_of_the_future_are_dropped_and_logged(lite, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    manifest = json.loads((path / "liteasr.json").read_text())
    manifest["sparkle"] = 1
    (path / "liteasr.json").write_text(json.dumps(manifest))
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        assert load(path).plan == lite.plan
    assert "sparkle" in caplog.text


@pytest.mark.parametrize("section", ["calibration", "report"])
def test_keys_of_the_future_inside_a_section_are_dropped(lite, tmp_path: Path, section) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    manifest = json.loads((path / "liteasr.json").read_text())
    manifest[section]["sparkle"] = 1
    (path / "liteasr.json").write_text(json.dumps(manifest))
    again = load(path)
    assert (again.report, again.calibration) == (lite.report, lite.calibration)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, "'files' must be"),
        ({"files": {"model.safetensors": 3}}, "'files' must be"),
        ({"files": None}, "'files' must be"),
        ({"name": 3}, "'name' must be str, got 3"),
        ({"plan": []}, "'plan' must be"),
        ({"plan": {}}, "not a rank plan"),
        ({"report": {}}, "'parameters_before' is missing"),
        ({"report": 3}, "'report' must be"),
        ({"calibration": {"model": "tiny"}}, "'encoder_sha256' is missing"),
        ({"calibration": "recordings"}, "'calibration' must be"),
    ],
)
def test_damaged_manifests_name_the_file_and_the_key(lite, tmp_path: Path, change, message) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    manifest = json.loads((path / "liteasr.json").read_text())
    (path / "liteasr.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(CheckpointError, match=rf"liteasr\.json .*{message}"):
        load(path)


@pytest.mark.parametrize("missing", ["files", "name", "origin", "plan", "report"])
def test_keys_missing_in_a_manifest_are_named(lite, tmp_path: Path, missing: str) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    manifest = json.loads((path / "liteasr.json").read_text())
    manifest.pop(missing)
    (path / "liteasr.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=rf"liteasr\.json .*'{missing}' is missing"):
        load(path)


def test_weights_that_do_not_fit_are_refused(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    file = path / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("down.weight"))
    for changed, message in (
        ({k: v for k, v in weights.items() if k != name}, "missing"),
        ({**weights, "extra": torch.ones(1)}, "unknown"),
        ({**weights, name: weights[name][:-1].contiguous()}, "size mismatch"),
    ):
        save_file(changed, file)
        with pytest.raises(CheckpointError, match=message):
            load(path, verify=False)
        with pytest.raises(IntegrityError, match="truncated or was changed"):  # the reason
            load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low_rank_config": None}, "list of 2 blocks"),
        ({"low_rank_config": [{}]}, "list of 2 blocks"),
        ({"low_rank_config": [{}, 16]}, r"low_rank_config\[1\] must hold ranks by layer, got 16"),
        ({"low_rank_config": [{"sparkle": 16}, {}]}, "unknown layers"),
        ({"low_rank_config": [{"fc1": "16"}, {}]}, r"\[0\]: fc1 must be from 1 to 64, got '16'"),
        ({"low_rank_config": [{"fc1": 65}, {}]}, "fc1 must be from 1 to 64, got 65"),
        ({"d_model": None}, "config.json is incomplete: d_model must be .*, got None"),
        ({"encoder_attention_heads": "4"}, "encoder_attention_heads must be .*, got '4'"),
        ({"dropout": "none"}, "config.json does not configure a whisper: .*dropout"),
        (
            {"low_rank_config": [{"fc1": 32, "fc2": 16}, {"fc1": 16}]},
            "no model.encoder|size mismatch",
        ),
    ],
)
def test_wrong_published_configs_are_refused(lite, tmp_path: Path, change, message) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    (path / "liteasr.json").unlink()
    config = json.loads((path / "config.json").read_text())
    for block in config["low_rank_config"]:
        block.clear()
    (path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_unknown_layouts_are_refused(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="'liteasr' or 'lite-whisper', got 'zip'"):
        lite.save(tmp_path / "lite", layout="zip")


def leave_a_stray_file(path: Path) -> None:
    save_file({"sparkle": torch.ones(1)}, path / "optimizer.safetensors")


@pytest.mark.parametrize(
    ("layout", "absent"), [("liteasr", ""), ("lite-whisper", ""), ("lite-whisper", "liteasr.json")]
)
def test_stray_files_are_not_read(lite, layout, absent, tmp_path: Path, babble) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout=layout)
    leave_a_stray_file(path)
    if absent:
        (path / absent).unlink()
    torch.testing.assert_close(encode(load(path).speech, babble), encode(lite.speech, babble))


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    whole = huggingface_hub.save_torch_state_dict
    monkeypatch.setattr(
        "huggingface_hub.save_torch_state_dict",
        lambda weights, folder: whole(weights, folder, max_shard_size="200KB"),
    )


@pytest.mark.usefixtures("small_shards")
def test_large_models_are_stored_in_shards(lite, tmp_path: Path, babble) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    assert len(list(path.glob("*.safetensors"))) > 1
    torch.testing.assert_close(encode(load(path).speech, babble), encode(lite.speech, babble))


@pytest.mark.usefixtures("small_shards")
def test_published_shards_are_those_of_the_index(lite, tmp_path: Path, babble) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    (path / "liteasr.json").unlink()
    leave_a_stray_file(path)
    torch.testing.assert_close(encode(load(path).speech, babble), encode(lite.speech, babble))
    (path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: 'weight_map'"):
        load(path)


def test_a_copied_checkpoint_still_opens(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = lite.save(tmp_path / "lite")
    shutil.copytree(path, tmp_path / "copy")
    shutil.rmtree(path)
    assert load(tmp_path / "copy").plan == lite.plan


def test_hub_ids_of_compressed_models_are_downloaded_and_opened(  # type: ignore[no-untyped-def]
    lite, tmp_path: Path, monkeypatch
) -> None:
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    monkeypatch.setattr(store, "hub_config", lambda ref: read_config(path))
    monkeypatch.setattr(store, "download_folder", lambda ref: path)
    opened = load_model("efficient-speech/lite-whisper-tiny")
    assert opened.name == "lite-whisper-tiny"
    assert any(isinstance(module, LowRankLinear) for module in opened.model.modules())


def test_other_architectures_do_not_fit_the_published_layout(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    lite.speech.model.config.model_type = "moonshine"
    with pytest.raises(CheckpointError, match="holds Whisper, not moonshine"):
        lite.save(tmp_path / "lite", layout="lite-whisper")


@pytest.mark.real
def test_published_repositories_without_a_processor_get_one(tmp_path: Path) -> None:
    """The published repositories hold neither a tokenizer nor complete generation settings."""
    dense = load_model("whisper-tiny.en")
    corpus = liteasr.load_corpus(fetch("two-cities") / "beckett.wav")
    lite = liteasr.compress(dense, audio=fetch("two-cities") / "beckett.wav", preset="acc")
    path = lite.save(tmp_path / "lite", layout="lite-whisper")
    for file in path.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    transcribers = [liteasr.transcriber_for(s) for s in (load(path).speech, lite.speech)]
    texts = [t.transcribe(corpus[0].load()).text for t in transcribers]
    assert texts[0] == texts[1] != ""
