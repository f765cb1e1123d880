import warnings
from pathlib import Path

import numpy as np
import pytest

from liteasr import _optional
from liteasr.corpus import load_corpus
from liteasr.errors import CorpusError, MissingDependencyError
from tiny_audio import write_wav

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the package itself, at import
    datasets = pytest.importorskip("datasets")


@pytest.fixture
def table(tmp_path: Path):  # type: ignore[no-untyped-def]
    paths = [
        write_wav(tmp_path / f"{n}.wav", np.full(1_600 * (n + 1), 0.1, dtype=np.float32))
        for n in range(3)
    ]
    values = {
        "audio": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        "sentence": ["one", "two", "three"],
        "locale": ["en", "en", "de"],
    }
    # cast afterwards: encoding through the Audio feature would need torchcodec
    return datasets.Dataset.from_dict(values).cast_column("audio", datasets.Audio(decode=False))


def check(ref: str) -> None:
    corpus = load_corpus(ref)
    assert [utterance.text for utterance in corpus] == ["one", "two", "three"]
    assert [utterance.language for utterance in corpus] == ["en", "en", "de"]
    assert [len(utterance.load()) for utterance in corpus] == [1_600, 3_200, 4_800]
    assert len({utterance.id for utterance in corpus}) == 3


def test_a_saved_dataset(table, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    table.save_to_disk(tmp_path / "saved")
    check(f"hf:{tmp_path / 'saved'}")


def test_splits_are_chosen_by_name(table, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    both = datasets.DatasetDict({"train": table.select([0]), "test": table})
    both.save_to_disk(tmp_path / "saved")
    check(f"hf:{tmp_path / 'saved'}")
    assert len(load_corpus(f"hf:{tmp_path / 'saved'}@train")) == 1
    with pytest.raises(CorpusError, match="has the splits train, test, not 'dev'"):
        load_corpus(f"hf:{tmp_path / 'saved'}@dev")


def test_a_single_split_needs_no_name(table, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    datasets.DatasetDict({"validation": table}).save_to_disk(tmp_path / "saved")
    check(f"hf:{tmp_path / 'saved'}")


def test_a_folder_of_parquet_files(table, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "parquet").mkdir()
    table.to_parquet(tmp_path / "parquet" / "test.parquet")
    check(f"hf:{tmp_path / 'parquet'}@test")


def test_a_dataset_without_audio_says_what_it_has(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["x"]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(CorpusError, match="no audio column: it has text"):
        load_corpus(f"hf:{tmp_path / 'saved'}")


def test_a_dataset_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="cannot open dataset"):
        load_corpus(f"hf:{tmp_path / 'empty'}")


def test_without_the_package_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(_optional.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'liteasr\[datasets\]'"):
        load_corpus("hf:anything")
