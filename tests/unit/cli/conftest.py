"""The command as a shell calls it, and a model to call it with."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from liteasr.cli import main
from liteasr.sources import SpeechModel
from tiny_whisper import tiny_whisper

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command as a shell would: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["liteasr", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            logging.getLogger("liteasr").handlers = []
            logging.getLogger("liteasr").propagate = True
            logging.getLogger("liteasr").setLevel(logging.NOTSET)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def saved(speech: SpeechModel, folder: Path) -> Path:
    speech.model.save_pretrained(folder)
    speech.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers directory; its windows are short, since commands encode many."""
    return saved(tiny_whisper(window_s=5), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with Whisper's windows of 30 s."""
    return saved(tiny_whisper(), tmp_path_factory.mktemp("whole"))
