import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteasr.corpus import Corpus, Utterance
from liteasr.errors import CorpusError, EvaluationError, StorageError
from liteasr.evaluation import (
    ALL,
    Candidate,
    Cell,
    ErrorCounts,
    EvaluationMatrix,
    EvaluationReport,
    ScoredUtterance,
    corpus_labels,
    evaluate_all,
    identity_of,
    model_labels,
    paired_bootstrap_interval,
    read_results,
)
from liteasr.evaluation.journal import Journal
from liteasr.runtime import TranscriptionOptions
from liteasr.transcript import Transcript

GREEDY = TranscriptionOptions(temperature=(0.0,))


class Echo:
    """Says what a clip of that length holds, with some words replaced; counts the calls."""

    def __init__(self, name: str, wrong: int) -> None:
        self.name, self.wrong, self.calls = name, wrong, 0

    def transcribe(
        self, audio: np.ndarray, options: TranscriptionOptions | None = None
    ) -> Transcript:
        self.calls += 1
        words = text_for(len(audio)).split()
        text = " ".join(["wrong"] * self.wrong + words[self.wrong :])
        return Transcript(text=text, language="en", duration_s=len(audio) / 16_000, model=self.name)


def text_for(samples: int) -> str:
    return " ".join(f"word{chr(97 + i)}" for i in range(samples // 4_000))


def corpus(recordings: Path, clips: Iterable[int], language: str = "en") -> Corpus:
    made = []
    for clip in clips:
        bare = Utterance(id=f"clip-{clip}", audio=recordings / f"clip-{clip}.wav")
        text = text_for(len(bare.load()))
        made.append(Utterance(id=bare.id, audio=bare.audio, text=text, language=language))
    return Corpus(utterances=tuple(made), origin="test")


@pytest.fixture
def corpora(recordings: Path) -> dict[str, Corpus]:
    return {"one": corpus(recordings, range(3)), "two": corpus(recordings, range(3, 6), "de")}


@pytest.fixture
def echoes() -> dict[str, Echo]:
    return {"dense": Echo("dense", 1), "lite": Echo("lite", 2)}


@pytest.fixture
def candidates(echoes: dict[str, Echo]) -> list[Candidate]:
    def opener(name: str) -> Callable[[], Echo]:
        return lambda: echoes[name]

    return [Candidate(label=name, open=opener(name), identity=name) for name in echoes]


def test_every_model_meets_every_corpus_and_the_reference(
    candidates: list[Candidate], corpora: dict[str, Corpus]
) -> None:
    matrix = evaluate_all(candidates, corpora, GREEDY)
    rows = {(row.model, row.corpus, row.score.language): row for row in matrix.rows()}
    assert set(rows) == {
        (model, *where)
        for model in ("dense", "lite")
        for where in (("one", ALL), ("two", ALL), (ALL, "de"), (ALL, "en"), (ALL, ALL))
    }
    for key, row in rows.items():
        assert row.score.counts.substitutions == row.score.utterances * (1 + (key[0] == "lite"))
    lite, dense = rows["lite", "one", ALL], rows["dense", "one", ALL]
    assert dense.difference is None
    assert lite.difference == pytest.approx(lite.score.counts.rate - dense.score.counts.rate)
    pairs = [
        [u.counts for u in matrix.report(model, "one").utterances]  # type: ignore[union-attr]
        for model in ("lite", "dense")
    ]
    assert lite.difference_interval == paired_bootstrap_interval(*pairs)
    assert lite.difference_interval[0] > 0
    means = [rows["lite", name, ALL].score.counts.rate for name in ("one", "two")]
    assert matrix.mean_over_corpora("lite") == pytest.approx(sum(means) / 2)
    json.dumps([row.to_dict() for row in matrix.rows()])


def test_the_reference_is_chosen(candidates: list[Candidate], corpora: dict[str, Corpus]) -> None:
    matrix = evaluate_all(candidates, {"one": corpora["one"]}, GREEDY, reference="lite")
    differences = {row.model: row.difference for row in matrix.rows()}
    assert differences["lite"] is None
    assert differences["dense"] is not None
    assert differences["dense"] < 0
    with pytest.raises(EvaluationError, match="reference other is not among"):
        evaluate_all(candidates, corpora, reference="other")


def test_an_interrupted_run_goes_on_and_a_finished_one_opens_nothing(
    candidates: list[Candidate],
    corpora: dict[str, Corpus],
    echoes: dict[str, Echo],
    tmp_path: Path,
) -> None:
    whole = evaluate_all(candidates, corpora, GREEDY, directory=tmp_path / "whole")
    before = {name: echo.calls for name, echo in echoes.items()}
    seen = 0

    def stopping(items: Iterable[Any], **_: object) -> Iterator[Any]:
        nonlocal seen
        for item in items:
            seen += 1
            if seen == 5:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        evaluate_all(candidates, corpora, GREEDY, directory=tmp_path / "cut", track=stopping)
    partial = tmp_path / "cut" / "dense.two.jsonl.partial"
    assert len(partial.read_text().splitlines()) == 1
    partial.write_text(partial.read_text() + '{"id": "torn')
    again = evaluate_all(candidates, corpora, GREEDY, directory=tmp_path / "cut")
    assert not partial.exists()
    assert texts(again) == texts(whole)
    # one warm-up for each cell that was begun, and each utterance once
    assert echoes["dense"].calls - before["dense"] == 3 + 3 + 3
    before = {name: echo.calls for name, echo in echoes.items()}
    kept = evaluate_all(candidates, corpora, GREEDY, directory=tmp_path / "cut")
    assert {name: echo.calls for name, echo in echoes.items()} == before
    assert kept.rows() == again.rows() == read_results(tmp_path / "cut").rows()
    assert texts(kept) == texts(again)


def texts(matrix: EvaluationMatrix) -> list[tuple[str, str, str]]:
    return [
        (cell.model, one.id, one.hypothesis)
        for cell in matrix.cells
        for one in cell.report.utterances
    ]


def test_a_grown_corpus_costs_only_what_is_new(
    candidates: list[Candidate], echoes: dict[str, Echo], recordings: Path, tmp_path: Path
) -> None:
    evaluate_all(candidates[:1], {"c": corpus(recordings, range(2))}, directory=tmp_path)
    calls = echoes["dense"].calls
    grown = evaluate_all(candidates[:1], {"c": corpus(recordings, range(4))}, directory=tmp_path)
    assert echoes["dense"].calls - calls == 1 + 2
    assert len(grown.cells[0].report.utterances) == 4


def test_other_conditions_are_refused(
    candidates: list[Candidate], corpora: dict[str, Corpus], tmp_path: Path
) -> None:
    evaluate_all(candidates, corpora, GREEDY, directory=tmp_path)
    options = TranscriptionOptions(temperature=(0.0,), beam_size=5)
    with pytest.raises(EvaluationError, match=r"beam_size 1, here 5.*delete the file"):
        evaluate_all(candidates, corpora, options, directory=tmp_path)
    other = Candidate(label="dense", open=candidates[0].open, identity="changed")
    with pytest.raises(EvaluationError, match="another model of that name"):
        evaluate_all([other], corpora, GREEDY, directory=tmp_path)


def test_files_without_a_record_are_not_taken_for_results(
    candidates: list[Candidate], corpora: dict[str, Corpus], tmp_path: Path
) -> None:
    (tmp_path / "dense.jsonl").write_text("someone else's")
    matrix = evaluate_all(candidates[:1], {"one": corpora["one"]}, GREEDY, directory=tmp_path)
    assert read_results(tmp_path).rows() == matrix.rows()


def test_hypotheses_alone_can_be_scored(
    candidates: list[Candidate], corpora: dict[str, Corpus], tmp_path: Path
) -> None:
    matrix = evaluate_all(candidates, {"one": corpora["one"]}, GREEDY, directory=tmp_path)
    (tmp_path / "evaluation.json").unlink()
    found = read_results(tmp_path, reference="lite")
    assert found.corpora == (ALL,)
    assert texts(found) == texts(matrix)
    with pytest.raises(EvaluationError, match="evaluate models first"):
        read_results(tmp_path / "none")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": 9}', '{"version": 1, "reference": "a", "cells": [{}]}']
)
def test_a_damaged_index_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"evaluation.json cannot be used"):
        read_results(tmp_path)


def test_a_full_disk_is_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        Journal(tmp_path / "file" / "h.jsonl").append(scored("u", "a", "a"))


def test_a_corpus_without_text_is_refused_before_any_model_opens(
    recordings: Path, tmp_path: Path
) -> None:
    def never() -> Echo:
        raise AssertionError("opened")

    mute = Corpus(utterances=(Utterance(id="u", audio=recordings / "clip-0.wav"),), origin="m")
    with pytest.raises(CorpusError, match="no text"):
        evaluate_all([Candidate(label="m", open=never)], {"m": mute}, directory=tmp_path)


def scored(id: str, reference: str, hypothesis: str, **changes: Any) -> ScoredUtterance:
    words = len(reference.split())
    values = {"language": "en", "counts": ErrorCounts(hits=words), "duration_s": 1.0,
              "elapsed_s": 0.5, **changes}  # fmt: skip
    return ScoredUtterance(id=id, reference=reference, hypothesis=hypothesis, **values)


def matrix_of(**utterances: list[ScoredUtterance]) -> EvaluationMatrix:
    cells = tuple(
        Cell(model=name, corpus="c", report=EvaluationReport(model=name, utterances=tuple(given)))
        for name, given in utterances.items()
    )
    return EvaluationMatrix(cells=cells, reference=cells[0].model)


def test_models_that_heard_other_utterances_are_not_paired() -> None:
    matrix = matrix_of(a=[scored("u", "x y", "x y")], b=[scored("v", "x y", "x y")])
    assert [row.difference for row in matrix.rows()] == [None, None]


def test_models_that_heard_other_languages_are_not_paired() -> None:
    english, characters = ErrorCounts(hits=2), ErrorCounts(hits=3, unit="character")
    matrix = matrix_of(
        a=[scored("u", "x y", "", counts=english)],
        b=[scored("u", "x y", "", counts=characters, language="zh")],
    )
    assert [row.difference for row in matrix.rows()] == [None, None]
    assert [row.score.counts.unit for row in matrix.rows()] == ["word", "character"]


def test_a_matrix_needs_results_and_its_reference() -> None:
    with pytest.raises(EvaluationError, match="no results"):
        EvaluationMatrix(cells=(), reference="a")
    with pytest.raises(EvaluationError, match="reference b is not"):
        EvaluationMatrix(cells=matrix_of(a=[scored("u", "x", "x")]).cells, reference="b")


def test_the_mean_needs_a_rate_on_every_corpus() -> None:
    matrix = matrix_of(a=[scored("u", "", "oh", counts=ErrorCounts(insertions=1))])
    assert matrix.mean_over_corpora("a") is None


def test_names_are_short_and_distinct(tmp_path: Path) -> None:
    assert model_labels(["a/lite", "whisper-base"]) == {
        "a/lite": "lite",
        "whisper-base": "whisper-base",
    }
    assert model_labels(["a/lite", "b/lite"]) == {"a/lite": "a/lite", "b/lite": "b/lite"}
    given = ["data/an4/manifest.jsonl", "talks/test.jsonl", "hf:org/set:en@test", "open-asr:ami"]
    assert list(corpus_labels(given).values()) == ["an4", "test", "set:en@test", "ami"]


def test_a_model_is_the_same_while_its_files_are(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    first = identity_of(folder)
    assert identity_of(folder) == first
    (folder / "config.json").write_text("[]")
    second = identity_of(folder)
    assert second != first
    (folder / "liteasr.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    third = identity_of(folder)
    assert third not in (first, second)
    (folder / "config.json").write_text("[]")
    assert identity_of(folder) == third
    assert identity_of("whisper-base") == "whisper-base"
    assert identity_of(folder / "config.json") != first


def test_a_model_that_misses_a_corpus_has_no_sum() -> None:
    report = EvaluationReport(model="m", utterances=(scored("u", "x", "x"),))
    cells = [Cell(model=m, corpus=c, report=report) for m, c in ("ac", "ad", "bc")]
    rows = EvaluationMatrix(cells=tuple(cells), reference="a").rows()
    assert [(row.model, row.corpus) for row in rows if row.corpus == ALL] == [("a", ALL)]
