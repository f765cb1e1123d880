import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteasr.corpus import load_corpus, require_disjoint
from liteasr.evaluation import (
    Cell,
    ErrorCounts,
    EvaluationMatrix,
    EvaluationReport,
    ScoredUtterance,
)
from liteasr.sweep import SweepResults, SweepRow

Run = Callable[..., tuple[int, str, str]]


def row(label: str, parameters: int, kl: float) -> SweepRow:
    return SweepRow(
        label=label, method=label.split()[0], keep=0.5, encoder_parameters=parameters,
        kept_parameters=0.5, kept_flops=0.5, flops=1e9, mean_kl=kl, kl_interval=(kl, kl),
        agreement=0.9,
    )  # fmt: skip


class Fake:
    """Notes what was asked, and gives three models."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __call__(
        self, speech: object, audio: object, held_out: object, place: Path, config: object,
        **rest: Any,
    ) -> tuple[SweepResults, EvaluationMatrix | None]:  # fmt: skip
        self.asked = {"audio": audio, "held_out": held_out, "config": config, **rest}
        rows = (row("dense", 9, 0.0), row("paper 0.5", 5, 0.3), row("joint 0.5", 5, 0.2))
        results = SweepResults(model="m", facts={}, rows=rows, skipped={"budget 0.1": "too few"})
        if not rest["corpora"]:
            return results, None
        one = ScoredUtterance(
            id="u", language="en", reference="a b", hypothesis="a c", duration_s=1, elapsed_s=1,
            counts=ErrorCounts(hits=1, substitutions=1),
        )  # fmt: skip
        cells = tuple(
            Cell(model=model.label, corpus=corpus,
                 report=EvaluationReport(model=model.label, utterances=(one,)))
            for model in rows[:2] for corpus in rest["corpora"]
        )  # fmt: skip
        return results, EvaluationMatrix(cells=cells, reference="dense")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr("liteasr.cli.sweep.sweep", made)
    monkeypatch.setattr("liteasr.cli.sweep.open_model", lambda *_, **__: None)
    return made


def test_audio_alone_is_split_for_divergences(
    run: Run, fake: Fake, recordings: Path, tmp_path: Path
) -> None:
    arguments = ("--audio", recordings, "-o", tmp_path, "--keep", "0.5,0.4", "--keep", "0.3")
    code, out, err = run("sweep", "m", *arguments, "--methods", "paper,joint", "--steps", 7)
    assert code == 0, err
    assert (len(fake.asked["audio"]), len(fake.asked["held_out"])) == (5, 1)
    require_disjoint(fake.asked["audio"], fake.asked["held_out"])
    config = fake.asked["config"]
    assert (config.keep, config.methods) == ((0.5, 0.4, 0.3), ("paper", "joint"))
    assert config.refinement.steps == 7
    assert "joint 0.5 *" in out
    assert "paper 0.5 *" not in out
    assert "budget 0.1 is not possible: too few" in " ".join(out.split())


def test_labelled_speech_is_split_and_scored(
    run: Run, fake: Fake, recordings: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "c.jsonl"
    lines = [json.dumps({"audio": str(u.audio), "text": "a b"}) for u in load_corpus(recordings)]
    manifest.write_text("\n".join(lines))
    code, out, err = run("sweep", "m", "--corpus", manifest, "--split", 2, "-o", tmp_path / "s")
    assert code == 0, err
    assert (len(fake.asked["audio"]), len(fake.asked["held_out"])) == (2, 4)
    assert list(fake.asked["corpora"]) == ["c"]
    assert "WER 50.00%" in out
    code, out, _ = run(
        "sweep", "m", "--corpus", manifest, "--split", 2, "-o", tmp_path / "s", "--json", "-q"
    )
    found = json.loads(out)
    assert [one["label"] for one in found["rows"]] == ["dense", "paper 0.5", "joint 0.5"]
    assert found["scores"][0]["rate"] == 0.5


def test_wrong_usage(run: Run, fake: Fake, recordings: Path, tmp_path: Path) -> None:
    clip = recordings / "clip-0.wav"
    out = ("-o", tmp_path / "s")
    for arguments, message in (
        ((), "--audio to calibrate"),
        (("--audio", recordings, "--corpus", "c", "--split", 3), "--audio to calibrate"),
        (("--split", 3), "--corpus"),
        (("--audio", clip), "one clip is too little"),
        (("--corpus", clip, "--split", 1), "cannot be split"),
        (("--audio", recordings, "--keep", "2"), "keep must hold shares"),
        (("--audio", recordings, "--keep", "half"), "half"),
        (("--audio", recordings, "--methods", "magic"), "methods must be some of"),
    ):
        code, _, err = run("sweep", "m", *arguments, *out)
        assert code == 2, (arguments, err)
        assert message in " ".join(err.split())
    assert not fake.asked
