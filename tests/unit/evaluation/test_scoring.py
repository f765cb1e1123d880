import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteasr.corpus import Utterance
from liteasr.errors import CorpusError
from liteasr.evaluation import (
    ErrorCounts,
    EvaluationReport,
    ScoredUtterance,
    evaluate,
    read_hypotheses,
    rescore,
    write_hypotheses,
)
from liteasr.runtime import TranscriptionOptions
from liteasr.transcript import Transcript


class Parrot:
    """Say a fixed text for each length of audio, and note what was asked."""

    def __init__(self, texts: dict[float, str]) -> None:
        self.texts = texts
        self.asked: list[tuple[float, str | None]] = []

    def transcribe(
        self, audio: np.ndarray, options: TranscriptionOptions | None = None
    ) -> Transcript:
        duration_s = len(audio) / 16_000
        self.asked.append((duration_s, options.language if options else None))
        return Transcript(
            text=self.texts[duration_s], language="en", duration_s=duration_s, model="parrot"
        )


@pytest.fixture
def corpus(recordings: Path) -> list[Utterance]:
    """Clips of 1.5, 2 and 2.5 seconds."""
    said = [("The colour is red.", "en_us"), ("eins zwei drei vier", "de"), ("今天很好", "zh")]
    return [
        Utterance(id=f"u{i}", audio=recordings / f"clip-{i}.wav", text=text, language=language)
        for i, (text, language) in enumerate(said)
    ]


@pytest.fixture
def parrot() -> Parrot:
    return Parrot({1.5: "the color is bread", 2.0: "eins drei vier", 2.5: "今天 很好!"})


def test_rows_by_language_and_no_total_over_mixed_units(
    corpus: list[Utterance], parrot: Parrot
) -> None:
    report = evaluate(parrot, corpus)
    rates = {row.language: (row.counts.unit, row.counts.rate) for row in report.rows}
    assert rates == {"de": ("word", 0.25), "en": ("word", 0.25), "zh": ("character", 0.0)}
    assert report.total is None
    assert report.rtfx > 0
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["total"] is None
    assert plain["environment"]["jiwer"]


def test_the_total_is_a_sum_over_a_sum(corpus: list[Utterance], parrot: Parrot) -> None:
    report = evaluate(parrot, corpus[:2])
    assert report.total is not None
    assert report.total.counts == ErrorCounts(substitutions=1, deletions=1, hits=6)
    row = report.to_dict()["total"]
    assert (row["n"], row["substitutions"], row["deletions"], row["insertions"]) == (8, 1, 1, 0)
    assert row["rate"] == 0.25
    assert row["audio_s"] == 3.5
    assert row["rtfx"] == pytest.approx(3.5 / sum(one.elapsed_s for one in report.utterances))
    assert report.rtfx == row["rtfx"]


def test_each_utterance_is_asked_in_its_language_after_one_warm_up(
    corpus: list[Utterance], parrot: Parrot
) -> None:
    report = evaluate(parrot, corpus)
    assert parrot.asked == [(1.5, "en"), (1.5, "en"), (2.0, "de"), (2.5, "zh")]
    assert report.warm_up == "1 untimed pass over u0"
    assert [one.id for one in report.utterances] == ["u0", "u1", "u2"]


def test_a_language_in_the_options_is_asked_of_all(corpus: list[Utterance], parrot: Parrot) -> None:
    evaluate(parrot, corpus, TranscriptionOptions(language="fr"))
    assert {language for _, language in parrot.asked} == {"fr"}


def test_translations_are_scored_as_english(corpus: list[Utterance], parrot: Parrot) -> None:
    parrot.texts[2.0] = "the color"
    spoken = [Utterance(id="t", audio=corpus[1].audio, text="The colour.", language="de")]
    report = evaluate(parrot, spoken, TranscriptionOptions(task="translate"))
    assert report.utterances[0].counts.errors == 0


def test_progress_is_tracked(corpus: list[Utterance], parrot: Parrot) -> None:
    seen = []

    def track(
        items: Iterable[Any], *, description: str, total: float | None = None
    ) -> Iterator[Any]:
        for item in items:
            seen.append((item.id, description, total))
            yield item

    evaluate(parrot, corpus, track=track)
    assert seen == [(f"u{i}", "evaluate", 3) for i in range(3)]


def test_packages_that_are_not_installed_are_said_to_be(
    corpus: list[Utterance], parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteasr.evaluation.scoring.PACKAGES", ("no-such-package",))
    environment = evaluate(parrot, corpus[:1]).environment
    assert environment["no-such-package"] == "not installed"


def test_utterances_without_text_are_named(corpus: list[Utterance], parrot: Parrot) -> None:
    mute = [corpus[0], Utterance(id="quiet", audio=corpus[0].audio)]
    with pytest.raises(CorpusError, match=r"utterance quiet has no text .*1 of 2"):
        evaluate(parrot, mute)
    with pytest.raises(CorpusError, match="empty"):
        evaluate(parrot, [])
    assert parrot.asked == []


def test_hypotheses_survive_a_file_and_can_be_scored_again(
    corpus: list[Utterance], parrot: Parrot, tmp_path: Path
) -> None:
    parrot.texts[1.5] = "the color\u2028is bread"
    report = evaluate(parrot, corpus)
    path = tmp_path / "hypotheses.jsonl"
    write_hypotheses(report.utterances, path)
    found = read_hypotheses(path)
    assert found == report.utterances
    assert rescore(found) == found
    unscored = ScoredUtterance.from_dict(found[0].to_dict() | {"counts": {}, "new": 1})
    assert rescore([unscored]) == found[:1]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"id": "x", "counts": 3}'])
def test_damaged_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hypotheses.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="line 2"):
        read_hypotheses(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot read hypotheses"):
        read_hypotheses(tmp_path / "none.jsonl")


def test_a_report_without_words_has_no_rate() -> None:
    one = ScoredUtterance(
        id="u", language=None, reference="", hypothesis="a", counts=ErrorCounts(insertions=1),
        duration_s=1.0, elapsed_s=0.0,
    )  # fmt: skip
    report = EvaluationReport(model="m", utterances=(one,))
    row = report.to_dict()["total"]
    assert (row["rate"], row["interval_95"], row["rtfx"]) == (None, None, 0.0)
    assert row["mean_clip_rate"] is None
    assert report.rtfx == 0.0
    assert report.rows[0].language == "unknown"
