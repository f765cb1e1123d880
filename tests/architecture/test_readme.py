"""The README's Python runs as it stands, one block after the other, on a real model."""

import re
import shutil
from pathlib import Path

import pytest

from liteasr.sources import fetch

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:.*chunk_length_s.*")
def test_snippets_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for clip in sorted(fetch("audioeval").glob("en/*.wav")):
        shutil.copy(clip, recordings)
    shutil.copy(fetch("two-cities") / "beckett.wav", recordings / "talk.wav")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert "of the encoder's parameters are left" in printed
    assert printed.lower().count("fail") >= 2, "Beckett's line, heard by both runtimes"
