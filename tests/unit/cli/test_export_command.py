"""liteasr export."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from liteasr.runtime.onnxruntime import OnnxEncoder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(whole_model: Path) -> Path:
    return whole_model


@pytest.fixture
def lite(run: Run, model: Path, recordings: Path, tmp_path: Path) -> Path:
    place = tmp_path / "lite"
    code, _, err = run(
        "compress", model, "--audio", recordings, "--thresholds", "0.97:0.9", "-o", place, "-q"
    )
    assert code == 0, err
    return place


def test_a_checkpoint_becomes_onnx_with_its_plan(run: Run, lite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, shown, err = run("export", lite, "-o", out)
    assert code == 0, err
    assert "relative error" in shown
    about = OnnxEncoder(out / "onnx" / "encoder_model.onnx", threads=1).description
    assert about.plan["rule"] == "threshold"
    assert any(layer["form"] == "chain" for layer in about.plan["layers"])


def test_int8_as_json(run: Run, model: Path, tmp_path: Path) -> None:
    code, shown, err = run("export", model, "--int8", "--json", "-q", "-o", tmp_path / "out")
    assert code == 0, err
    value = json.loads(shown)
    assert value["directory"] == str(tmp_path / "out")
    assert value["description"]["precision"] == "int8"
    assert 0 < value["encoder"]["relative"] < 0.2
    assert (tmp_path / "out" / "onnx" / "decoder_model_merged_int8.onnx").is_file()


def test_dense_opens_as_any_model(run: Run, lite: Path, tmp_path: Path) -> None:
    code, shown, err = run("export", lite, "--to", "dense", "-o", tmp_path / "dense")
    assert code == 0, err
    assert "relative error" in shown
    code, _, err = run("export", tmp_path / "dense", "-o", tmp_path / "again", "-q")
    assert code == 0, err


def test_ctranslate2_opens_as_any_model(run: Run, lite: Path, tmp_path: Path) -> None:
    code, shown, err = run("export", lite, "--to", "ctranslate2", "-o", tmp_path / "ct2")
    assert code == 0, err
    assert "ctranslate2; encoder relative error" in shown
    assert (tmp_path / "ct2" / "model.bin").is_file()


def test_wrong_usage_is_refused_before_the_work(run: Run, model: Path, tmp_path: Path) -> None:
    code, _, err = run("export", model, "--to", "dense", "--int8", "-o", tmp_path / "out")
    assert code == 2
    assert "--int8 is for --to onnx and --to ctranslate2" in err
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    code, _, err = run("export", model, "-o", tmp_path / "taken")
    assert code == 1
    assert "exists already" in err
