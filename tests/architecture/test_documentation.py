"""Pages that list things list all of them."""

import re
from pathlib import Path

import pytest

import liteasr
from liteasr import errors
from liteasr.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "liteasr"


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_the_error_tree_is_drawn_whole() -> None:
    ours = {
        kind.__name__
        for kind in subclasses(errors.LiteASRError)
        if kind.__module__.startswith("liteasr")
    }
    assert ours == set(errors.__all__)
    drawn = re.findall(r"^[ │├└─]*(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(ours)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_every_command_is_named(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(COMMANDS) >= 7
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", text)] == []


def test_every_package_has_a_floor() -> None:
    floors = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    packages = [path.parent.name for path in SOURCE.glob("*/__init__.py")]
    assert len(packages) >= 13
    assert [
        n for n in packages if not re.search(rf"^(\d\d| \d|  ) {n}/", floors, re.MULTILINE)
    ] == []


def test_every_public_name_is_explained() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names = [name for name in liteasr.__all__ if not name.startswith("__")]
    assert [name for name in names if f"`{name}" not in page] == []
