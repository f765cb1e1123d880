import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from liteasr.checkpoint import load
from liteasr.corpus import Corpus, load_corpus, parts, pieces, require_disjoint
from liteasr.encoders import encoder_fingerprint, encoder_parameters
from liteasr.errors import CorpusError, EvaluationError
from liteasr.plan import Costs
from liteasr.refinement import RefinementConfig
from liteasr.sources import SpeechModel
from liteasr.sweep import SweepConfig, SweepResults, sweep, workshop
from liteasr.sweep import session as module
from tiny_whisper import tiny_whisper

SMALL = SweepConfig(keep=(0.8,), methods=("paper", "joint"), divergence_clips=1)


@pytest.fixture(scope="module")
def dense() -> SpeechModel:
    return tiny_whisper(blocks=1, window_s=5)


@pytest.fixture(scope="module")
def halves(recordings: Path) -> tuple[Corpus, Corpus]:
    whole = load_corpus(recordings)
    cut = [replace(one, offset_s=0.0, duration_s=1.0, text="a b", language="en") for one in whole]
    return (
        Corpus(utterances=tuple(cut[:2]), origin="calibration"),
        Corpus(utterances=tuple(cut[5:]), origin="scored"),
    )


@pytest.fixture(scope="module")
def prepared(
    dense: SpeechModel, halves: tuple[Corpus, Corpus], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Moments and sensitivities, which every sweep of the same audio finds."""
    folder = tmp_path_factory.mktemp("prepared")
    sweep(dense, *halves, folder, replace(SMALL, methods=("paper",)))
    (folder / "sweep.json").unlink()
    return folder


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    for file in prepared.glob("moments.*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_every_size_and_method_has_a_row_a_checkpoint_and_a_score(
    dense: SpeechModel,
    halves: tuple[Corpus, Corpus],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GREEDY", replace(module.GREEDY, max_new_tokens=4))
    before = encoder_fingerprint(dense.model)
    corpora = {"scored": halves[1]}
    config = replace(SMALL, methods=("paper", "joint", "units"))
    results, matrix = sweep(dense, *halves, place, config, corpora=corpora)
    assert encoder_fingerprint(dense.model) == before
    labels = ["dense", "paper 0.8", "joint 0.8", "units 0.8"]
    assert [row.label for row in results.rows] == labels
    assert results.rows[0].mean_kl == pytest.approx(0, abs=1e-9)
    costs = Costs(unit="parameters", model=dense.model)
    for row in results.rows[1:]:
        assert row.kept_parameters <= 0.8 + 1e-9
        assert row.mean_kl > 0
        lite = load(place / (row.checkpoint or ""))
        assert lite.plan == row.plan
        assert encoder_parameters(lite.speech.model) == row.encoder_parameters
        assert costs.of(lite.plan) == row.encoder_parameters
    asked = {row.label for row in results.rows if row.plan and row.plan.options.get("units")}
    assert asked == {"units 0.8"}
    assert all(not x.by_unit for row in results.rows[:3] for x in row.plan or ())
    assert matrix is not None
    assert matrix.models == tuple(labels)
    assert matrix.reference == "dense"
    assert set(results.spectra) == {"conv2", *(layer.name for layer in results.rows[1].plan or ())}
    for curve in results.spectra.values():
        assert [place for place, _ in curve] == sorted({place for place, _ in curve})
        assert all(0 <= share <= 1 for _, share in curve)
    assert SweepResults.load(place) == results


def test_an_interrupted_sweep_goes_on_and_more_sizes_add_rows(
    dense: SpeechModel,
    halves: tuple[Corpus, Corpus],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    real = workshop.plan_by_method

    def planning(method: str, keep: float, *rest: object) -> object:
        if len(made) == 1 and "stop" not in made:
            made.append("stop")
            raise KeyboardInterrupt
        made.append(f"{method} {keep:g}")
        return real(method, keep, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(workshop, "plan_by_method", planning)
    with pytest.raises(KeyboardInterrupt):
        sweep(dense, *halves, place, SMALL)
    assert [row.label for row in SweepResults.load(place).rows] == ["dense", "paper 0.8"]
    wider = replace(SMALL, keep=(0.8, 0.01), methods=("paper", "budget"))
    results, matrix = sweep(dense, *halves, place, wider)
    assert matrix is None
    assert made == ["paper 0.8", "stop", "paper 0.01", "budget 0.8", "budget 0.01"]
    assert [row.label for row in results.rows] == [
        "dense", "paper 0.8", "paper 0.01", "budget 0.8",
    ]  # fmt: skip
    assert "smallest ranks leave" in results.skipped["budget 0.01"]
    assert all(layer.form in ("dense", "chain") for layer in results.rows[-1].plan or ())


def test_other_audio_is_another_sweep(
    dense: SpeechModel, halves: tuple[Corpus, Corpus], place: Path
) -> None:
    only = replace(SMALL, methods=("paper",))
    sweep(dense, *halves, place, only)
    fewer = replace(halves[0], utterances=halves[0].utterances[:1])
    with pytest.raises(EvaluationError, match=r"calibration differ.*another directory"):
        sweep(dense, fewer, halves[1], place, only)


def test_refined_models_keep_their_curve(
    dense: SpeechModel, halves: tuple[Corpus, Corpus], place: Path
) -> None:
    training = RefinementConfig(steps=2, batch_size=1, check_every=1)
    config = replace(SMALL, methods=("refined",), refinement=training)
    results, _ = sweep(dense, *halves, place, config)
    found = results.rows[-1].refinement
    assert found is not None
    assert found.steps == 2
    assert SweepResults.load(place).rows[-1].refinement == found
    assert load(place / "checkpoints" / "refined-0.8").refinement == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": (1.5,)}, "keep must hold shares"),
        ({"keep": ()}, "keep must hold shares"),
        ({"methods": ("magic",)}, "methods must be some of paper, budget, joint, units, refined"),
        ({"divergence_clips": 0}, "at least 1"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SweepConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        '{"version": 9, "rows": []}',
        '{"version": 1, "rows": [3], "model": "m", "facts": {}}',
    ],
)
def test_damaged_results_are_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"sweep.json holds no sweep"):
        SweepResults.load(tmp_path)


def test_clips_that_calibrate_are_not_scored(recordings: Path) -> None:
    whole = load_corpus(recordings)
    moved = replace(whole, utterances=tuple(replace(one, id="new") for one in whole.utterances[:1]))
    with pytest.raises(CorpusError, match="calibrated with too"):
        require_disjoint(whole, moved)


def test_parts_are_disjoint_and_by_language(recordings: Path, tmp_path: Path) -> None:
    languages = ["en", "de", "en", "de", "en", "fr"]
    lines = [
        json.dumps({"audio": str(one.audio), "text": "a", "language": language})
        for one, language in zip(load_corpus(recordings), languages, strict=True)
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(lines))
    first, second = parts([str(manifest)], ["en", "de", "fr"], calibration=1)
    require_disjoint(first, second)
    assert [one.language for one in first] == ["en", "de"]
    assert [one.language for one in second] == ["en", "en", "de"]
    first, second = parts([str(manifest)], None, calibration=9)
    assert (len(first), len(second)) == (3, 3)


def test_long_recordings_are_cut(recordings: Path) -> None:
    long = replace(load_corpus(recordings)[0], duration_s=95.0)
    assert [piece.offset_s for piece in pieces(long)] == [0.0, 30.0, 60.0]
    assert len(pieces(replace(long, duration_s=59.0))) == 1
