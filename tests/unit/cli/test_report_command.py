import json
from collections.abc import Callable
from pathlib import Path

import pytest

from liteasr.errors import StorageError

Run = Callable[..., tuple[int, str, str]]


def test_a_page_and_cards_are_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Row:
        label, checkpoint = "joint 0.7", "checkpoints/joint-0.7"

    class Contents:
        class sweep:  # noqa: N801 - stands for an attribute
            rows = (Row(),)

    carded = []

    def card(folder: Path, contents: object, label: str) -> Path:
        carded.append((folder, label))
        if label == "other":
            raise StorageError("README.md was not written by liteasr")
        return folder / "README.md"

    monkeypatch.setattr("liteasr.cli.report.read_contents", lambda *_: Contents())
    monkeypatch.setattr("liteasr.cli.report.write_report", lambda *_, **__: tmp_path / "r.html")
    monkeypatch.setattr("liteasr.cli.report.write_card", card)
    code, out, err = run("report", tmp_path, "--card", tmp_path / "other", "--json")
    assert code == 0
    assert "not written by liteasr" in err
    found = json.loads(out)
    assert found["page"] == str(tmp_path / "r.html")
    assert found["cards"] == [str(tmp_path / "checkpoints" / "joint-0.7" / "README.md")]
    assert [label for _, label in carded] == ["joint 0.7", "other"]


def test_an_empty_directory_is_an_error_of_ours(run: Run, tmp_path: Path) -> None:
    code, _, err = run("report", tmp_path)
    assert code == 1
    assert "holds no results" in err
