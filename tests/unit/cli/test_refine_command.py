import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import liteasr
from liteasr.checkpoint import load
from liteasr.refinement import CurvePoint, RefinementReport, plot_curve

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(model: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compressed") / "lite"
    return liteasr.compress(model, audio=recordings, keep=0.8).save(folder)


@pytest.fixture
def lite(made: Path, tmp_path: Path) -> Path:
    """A compressed model of one's own."""
    return Path(shutil.copytree(made, tmp_path / "lite"))


@pytest.fixture
def report() -> RefinementReport:
    curve = (CurvePoint(0, None, 0.5), CurvePoint(10, 0.4, 0.3, 0.9), CurvePoint(20, 0.3, 0.35))
    return RefinementReport(
        before=0.5, after=0.3, best_step=10, steps=20, seconds=60.0, curve=curve
    )


def test_a_checkpoint_is_refined_with_the_model_it_came_from(  # type: ignore[no-untyped-def]
    run: Run, lite: Path, recordings: Path, tmp_path: Path
) -> None:
    out_folder, plot = tmp_path / "refined", tmp_path / "curve.png"
    code, out, err = run(
        "refine", lite, "--audio", recordings, "-o", out_folder, "--steps", 2, "--batch-size", 1,
        "--short-share", 0.5, "--divergence-weight", 0.2, "--plot", plot, "--json",
    )  # fmt: skip
    assert code == 0, err
    value = json.loads(out)
    assert value["refinement"]["steps"] == 2
    assert value["refinement"]["options"]["short_share"] == 0.5
    assert value["refinement"]["options"]["divergence_weight"] == 0.2
    assert value["refinement"]["after"] <= value["refinement"]["before"]
    again = load(out_folder)
    assert again.refinement is not None
    assert json.loads(json.dumps(again.refinement.to_dict())) == value["refinement"]
    assert again.plan == load(lite).plan
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "Refining" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.png", "lite", "refined"]


def test_compress_can_refine_at_once(  # type: ignore[no-untyped-def]
    run: Run, model: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteasr.cli import compress

    quick = compress.RefinementConfig(steps=1, batch_size=1)
    monkeypatch.setattr(compress, "RefinementConfig", lambda seed: quick)
    code, out, err = run(
        "compress", model, "--audio", recordings, "--keep", "0.8", "--refine", "-o", tmp_path / "x"
    )
    assert code == 0, err
    assert "loss on held-out audio" in out
    assert load(tmp_path / "x").refinement is not None


def test_another_original_is_refused(  # type: ignore[no-untyped-def]
    run: Run, lite: Path, recordings: Path, tmp_path: Path, make_speech
) -> None:
    other = make_speech(seed=5)
    other.model.save_pretrained(tmp_path / "other")
    other.processor.save_pretrained(tmp_path / "other")
    options = ("-o", tmp_path / "y", "--original", tmp_path / "other")
    code, _, err = run("refine", lite, "--audio", recordings, *options)
    assert code == 1
    assert "not the model that was compressed" in err


def test_wrong_use_is_refused_before_the_work(run: Run, lite: Path, recordings: Path) -> None:
    code, _, err = run("refine", lite, "--audio", recordings, "-o", lite)
    assert code == 1
    assert "exists" in err or "not empty" in err
    code, _, err = run(
        "refine", lite, "--audio", recordings, "-o", lite.parent / "z", "--learning-rate", "-1"
    )
    assert code == 2
    assert "learning_rate must be above 0" in err


def test_pictures_are_refused_before_the_work(run: Run, lite: Path, recordings: Path) -> None:
    code, _, err = run(
        "refine", lite, "--audio", recordings, "-o", lite.parent / "z", "--plot", "curve.docx"
    )
    assert code == 2
    assert ".png, .pdf or .svg" in err


def test_a_published_model_needs_its_original(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    published = tmp_path / "published"
    options = ("--audio", recordings, "--thresholds", "0.9:0.9", "--layout", "lite-whisper")
    assert run("compress", model, *options, "-o", published)[0] == 0
    (published / "liteasr.json").unlink()  # others do not write it
    arguments = ("refine", published, "--audio", recordings, "--steps", 1, "--batch-size", 1)
    code, _, err = run(*arguments, "-o", tmp_path / "x")
    assert code == 1
    assert "published is compressed already" in err
    assert "name the original model" in err
    code, _, err = run(*arguments, "-o", tmp_path / "x", "--original", model)
    assert code == 0, err


def test_pictures_need_a_known_ending(report: RefinementReport, tmp_path: Path) -> None:
    plot_curve(report, tmp_path / "curve.svg")
    assert b"<svg" in (tmp_path / "curve.svg").read_bytes()
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg"):
        plot_curve(report, tmp_path / "curve.docx")
    assert [path.name for path in tmp_path.iterdir()] == ["curve.svg"]


def test_reports_round_trip_and_name_damage(report: RefinementReport, tmp_path: Path) -> None:
    report.save(tmp_path / "report.json")
    value = json.loads((tmp_path / "report.json").read_text())
    assert RefinementReport.from_dict(value) == report
    assert RefinementReport.from_dict({**value, "glow": 1}) == report
    with pytest.raises(ValueError, match="'after' is missing"):
        RefinementReport.from_dict({k: v for k, v in value.items() if k != "after"})
    with pytest.raises(ValueError, match="'curve' is damaged"):
        RefinementReport.from_dict({**value, "curve": [{"stop": 1}]})
