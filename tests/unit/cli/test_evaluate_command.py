import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from liteasr.corpus import load_corpus
from liteasr.transcript import Transcript

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def corpora(recordings: Path, tmp_path: Path) -> list[Path]:
    """Two manifests of one clip each."""
    made = []
    for name, one in zip(("first", "second"), load_corpus(recordings), strict=False):
        line = {"audio": str(one.audio), "text": "the colour A.B.C.", "language": "en"}
        made.append(tmp_path / f"{name}.jsonl")
        made[-1].write_text(json.dumps(line) + "\n")
    return made


class Parrot:
    """Says the same of everything."""

    def __init__(self, ref: str, **_: object) -> None:
        self.name = Path(ref).name

    def transcribe(self, audio: np.ndarray, options: object = None) -> Transcript:
        seconds = len(audio) / 16_000
        return Transcript(text="the color ABC", language="en", duration_s=seconds, model=self.name)


def test_many_models_on_many_corpora(
    run: Run, corpora: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteasr.cli.runtime_options.load_transcriber", Parrot)
    model, other = Path("dense"), Path("some/other")
    given = [model, other, *(part for path in corpora for part in ("--corpus", path))]
    code, out, err = run("evaluate", *given, "--hypotheses", tmp_path / "kept", "-q")
    assert code == 0, err
    shown = [line.split("│")[1:4] for line in out.splitlines() if line.startswith("│")]
    names = [[cell.strip() for cell in row][:2] for row in shown]
    assert names == [
        [name, corpus] for name in (model.name, "other") for corpus in ("first", "second", "all")
    ]
    assert f"minus {model.name}" in " ".join(out.split())
    code, out, err = run("evaluate", *given, "--hypotheses", tmp_path / "kept", "--json")
    assert code == 0, err
    assert "kept from an earlier run" in err
    results = json.loads(out)
    assert [(one["label"], one["corpus"]) for one in results] == [
        (model.name, "first"), (model.name, "second"), ("other", "first"), ("other", "second"),
        (model.name, "all"), ("other", "all"),
    ]  # fmt: skip
    assert results[3]["rows"][0]["minus_reference"] == 0.0
    assert results[3]["rows"][0]["minus_reference_95"] == [0.0, 0.0]

    code, again, err = run("evaluate", "--from-hypotheses", tmp_path / "kept", "--json")
    assert (code, json.loads(again)) == (0, results), err
    arguments = ("--from-hypotheses", tmp_path / "kept", "--reference", "other", "--json")
    code, out, err = run("evaluate", *arguments, "--normalizer", "open-asr")
    found = json.loads(out)
    assert {one["reference"] for one in found} == {"other"}
    # "the color a b c" in five words, "the color abc" in three
    assert (results[0]["total"]["n"], found[0]["total"]["n"]) == (5, 3)


def test_streams_are_the_transcribers(
    run: Run, corpora: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def open_one(ref: str, **options: object) -> Parrot:
        asked.append((options["streams"], options["device"]))
        return Parrot(ref)

    monkeypatch.setattr("liteasr.cli.runtime_options.load_transcriber", open_one)
    code, _, err = run("evaluate", "dense", "--corpus", corpora[0], "--streams", 3, "-q")
    assert code == 0, err
    assert asked == [(3, "cpu")]


def test_the_reference_is_scored_too(
    run: Run, corpora: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteasr.cli.runtime_options.load_transcriber", Parrot)
    for reference, scored in (("lite", ["lite"]), ("dense", ["lite", "dense"])):
        arguments = ("lite", "--corpus", corpora[0], "--reference", reference, "--json", "-q")
        code, out, err = run("evaluate", *arguments)
        assert code == 0, err
        assert [one["label"] for one in json.loads(out)] == scored
        assert {one["reference"] for one in json.loads(out)} == {reference}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the models"),
        (("whisper-base",), "--corpus"),
        (("whisper-base", "--from-hypotheses", "d"), "neither models nor corpora"),
        (("m", "--corpus", "c", "--normalizer", "none"), "open-asr"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run("evaluate", *arguments)
    assert code == 2
    assert message in err


def test_the_leaderboard_is_eight_sets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(ref: str, **_: object) -> object:
        asked.append(ref)
        raise KeyboardInterrupt

    monkeypatch.setattr("liteasr.cli.evaluate.load_corpus", load)
    assert run("evaluate", "m", "--corpus", "open-asr")[0] == 130
    assert asked == ["open-asr:ami"]
