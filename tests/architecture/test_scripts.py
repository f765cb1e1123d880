"""What scripts/setup does about the environment it finds, told by a Python that takes notes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
echo "$@" >> calls
case "$*" in *venv*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;; esac
"""
INTERRUPTED = "#!/bin/sh\necho 'No module named pip' >&2; exit 1\n"


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("found", "made"), [(None, True), (INTERRUPTED, True), (PYTHON, False)],
    ids=["none", "half-made", "whole"],
)  # fmt: skip
def test_a_half_made_environment_is_made_again(
    found: str | None, made: bool, tmp_path: Path
) -> None:
    write_program(tmp_path / "python", PYTHON)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts" / "setup")
    if found is not None:
        write_program(tmp_path / ".venv/bin/python", found)
    environment = {**os.environ, "PYTHON": str(tmp_path / "python")}
    done = subprocess.run([tmp_path / "scripts/setup"], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    calls = (tmp_path / "calls").read_text()
    assert ("-m venv --clear .venv\n" in calls) == made
    assert calls.splitlines()[-1].startswith("-m pip install")
