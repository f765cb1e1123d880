"""What is printed arrives where it should, as it was written."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.table import Table

from liteasr.cli.scores import NOTHING, score_table
from liteasr.cli.screen import Screen
from liteasr.evaluation import (
    Cell,
    ErrorCounts,
    EvaluationMatrix,
    EvaluationReport,
    ScoredUtterance,
)

ODD = "[red]talks[/red] :smile: [/]"
LONG = "/data/" + "a-long-folder/" * 12 + "moments.safetensors"


def scored(**changes: object) -> EvaluationReport:
    values = {"id": "a", "language": "en", "reference": "a", "hypothesis": "a", "duration_s": 1.0,
              "elapsed_s": 0.5, "counts": ErrorCounts(hits=1), **changes}  # fmt: skip
    return EvaluationReport(model="m", utterances=(ScoredUtterance(**values),))  # type: ignore[arg-type]


def alone(model: str, report: EvaluationReport) -> EvaluationMatrix:
    return EvaluationMatrix(cells=(Cell(model=model, corpus="c", report=report),), reference=model)


def test_results_reach_stdout_while_a_bar_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    bar = io.StringIO()
    screen.err = Console(file=bar, force_terminal=True)
    for number in screen.track([1, 2], description="Transcribing", total=2):
        print(f"text {number}")
    assert capsys.readouterr().out == "text 1\ntext 2\n"
    assert "text" not in bar.getvalue()
    assert "Transcribing" in bar.getvalue()


def test_brackets_and_colons_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    table = Table(title=ODD, caption=ODD)
    table.add_column(ODD)
    table.add_row(ODD)
    screen.result({}, table)
    screen.result({}, ODD)
    screen.note(ODD)
    screen.error(ODD)
    list(screen.track([1], description=ODD, total=1))
    out, err = capsys.readouterr()
    assert out.count(ODD) == 5
    assert err.count(ODD) == 3


@pytest.fixture
def library_log() -> Iterator[logging.Logger]:
    """The library's logger, put back as it was."""
    logger = logging.getLogger("liteasr")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    yield logger
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def test_long_paths_stay_whole(
    library_log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    screen.result({}, f"{LONG}: done")
    screen.note(f"written to {LONG}")
    screen.error(f"{LONG} does not exist")
    screen.start_logging()
    library_log.warning("%s: skipped", LONG)
    out, err = capsys.readouterr()
    assert out.count(LONG) == 1
    assert err.count(LONG) == 3
    assert f"warning: {LONG}: skipped" in err


def test_a_long_model_name_is_not_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().result([], score_table(alone(LONG, scored())))
    shown = "".join(line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines()
                    if line.startswith("│"))  # fmt: skip
    assert shown == LONG


def test_a_row_without_reference_words_shows_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    report = scored(reference="", hypothesis="oh", counts=ErrorCounts(insertions=1))
    Screen().result([], score_table(alone("m", report)))
    out = capsys.readouterr().out
    assert "nan" not in out
    assert "inf" not in out
    assert out.count(NOTHING) == 3
    assert "NaN" not in json.dumps(report.to_dict())


def test_descriptions_may_change_as_the_work_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    screen, done = Screen(), []
    for number in screen.track([1, 2], description=lambda: f"step {len(done)}"):
        done.append(number)
    assert "step 2" in capsys.readouterr().err
