import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from liteasr.corpus import OPEN_ASR, load_corpus, open_asr
from liteasr.errors import CorpusError
from tiny_audio import wav_bytes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the package itself, at import
    datasets = pytest.importorskip("datasets")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local copy of the leaderboard's repository: a configuration and two splits."""
    for split, texts in (("clean", ["one", "two"]), ("other", ["three"])):
        values = {
            "id": [f"{split}-{n}" for n in range(len(texts))],
            "audio": [
                {"bytes": wav_bytes(np.full(1_600, 0.1, dtype=np.float32)), "path": f"{n}.wav"}
                for n in range(len(texts))
            ],
            "text": texts,
            "sentence": ["not this"] * len(texts),
        }
        table = datasets.Dataset.from_dict(values)
        table = table.cast_column("audio", datasets.Audio(decode=False))
        (tmp_path / "librispeech").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / "librispeech" / f"test.{split}.parquet")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: librispeech\n  data_files:\n"
        "  - split: test.clean\n    path: librispeech/test.clean.parquet\n"
        "  - split: test.other\n    path: librispeech/test.other.parquet\n---\n"
    )
    local = {name: replace(found, repository=str(tmp_path)) for name, found in OPEN_ASR.items()}
    monkeypatch.setattr(open_asr, "OPEN_ASR", local)
    return tmp_path


def test_sets_are_read_by_name(mirror: Path) -> None:
    clean = load_corpus("open-asr:librispeech-clean")
    assert [(one.text, one.language) for one in clean] == [("one", "en"), ("two", "en")]
    assert [len(one.load()) for one in clean] == [1_600, 1_600]
    assert [one.text for one in load_corpus("open-asr:librispeech-other")] == ["three"]


def test_the_text_column_is_the_one_of_the_table(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(OPEN_ASR["librispeech-clean"], repository=str(mirror), text="norm")
    monkeypatch.setattr(open_asr, "OPEN_ASR", {"librispeech-clean": wrong})
    with pytest.raises(CorpusError, match="no column norm: id, audio, text, sentence"):
        load_corpus("open-asr:librispeech-clean")


def test_unknown_sets_are_named() -> None:
    with pytest.raises(CorpusError, match="open-asr:timit is none of ami, earnings22"):
        load_corpus("open-asr:timit")


def test_the_table_names_the_leaderboards_sets() -> None:
    refs = {name: found.ref for name, found in OPEN_ASR.items()}
    assert len(refs) == 8
    assert refs["librispeech-other"].endswith(":librispeech@test.other")
    assert refs["ami"] == "hf-audio/esb-datasets-test-only-sorted:ami@test"
