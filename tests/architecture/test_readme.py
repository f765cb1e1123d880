"""The README's Python runs, one block after the other, on a real model and real speech.

As it stands, but for the smaller bundled model in the place of Whisper base, and on one recording:
what is proved is that names, arguments and files fit together, and that speech comes out.
"""

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
    shutil.copy(fetch("two-cities") / "beckett.wav", recordings / "talk.wav")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    assert sum(block.count('"whisper-base"') for block in blocks) == 2
    for block in blocks:
        code = block.replace('"whisper-base"', '"whisper-tiny.en"')
        exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert "of the encoder's parameters are left" in printed
    assert printed.lower().count("fail better") == 2, (
        "the end of Beckett's line, heard by both runtimes"
    )
