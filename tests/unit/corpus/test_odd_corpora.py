import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from liteasr.corpus import Corpus, Utterance, load_corpus, read_manifest, write_manifest
from liteasr.errors import CorpusError
from tiny_audio import write_wav

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the package itself, at import
    datasets = pytest.importorskip("datasets")


def clip(path: Path, samples: int = 1_600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_wav(path, np.full(samples, 0.1, dtype=np.float32))


def table(*cells: object) -> object:
    made = datasets.Dataset.from_dict({"audio": list(cells), "text": ["x"] * len(cells)})
    return made.cast_column("audio", datasets.Audio(decode=False))


def test_line_separators_inside_a_text_survive(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    spoken = Utterance(id="a.wav", audio=clip(tmp_path / "a.wav"), text=text)
    write_manifest(tmp_path / "m.jsonl", [spoken])
    assert read_manifest(tmp_path / "m.jsonl") == (spoken,)


def test_files_written_on_windows_are_read(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_bytes(b'\xef\xbb\xbf{"audio": "a.wav"}\r\n')
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhi\r\n")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.wav\r\n")
    assert len(load_corpus(tmp_path / "m.jsonl")) == 1
    assert load_corpus(tmp_path / "list.txt")[0].text == "hi"


@pytest.mark.parametrize(
    "line",
    ['{"audio": "' + "a" * 5000 + '"}', '{"duration": ' + "9" * 5000 + "}", "[" * 100_000],
    ids=["name too long", "number too long", "too deep"],
)
def test_hostile_lines_are_named_too(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.jsonl").write_text("\n" + line)
    with pytest.raises(CorpusError, match=r"m\.jsonl, line 2: "):
        read_manifest(tmp_path / "m.jsonl")


def test_slices_of_a_long_recording_have_their_own_ids(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    lines = [json.dumps({"audio": "a.wav", "offset": at}) for at in (12345.67, 12345.71, 5)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    ids = [utterance.id for utterance in read_manifest(tmp_path / "m.jsonl")]
    assert ids == ["a.wav@12345.67", "a.wav@12345.71", "a.wav@5"]


def test_the_length_of_a_slice_from_the_start_is_part_of_its_digest() -> None:
    short, long = (Utterance(id="x", audio=b"a", offset_s=0.0, duration_s=s) for s in (1.0, 2.0))
    assert short.digest() != long.digest()


def test_a_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_bytes("größe".encode("latin-1"))
    for ref in (tmp_path, tmp_path / "a.wav"):
        with pytest.raises(CorpusError, match=r"cannot read the text .*a\.txt \(UTF-8\)"):
            load_corpus(ref)


def test_one_recording_has_the_text_beside_it(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("hi")
    assert load_corpus(tmp_path / "a.wav")[0].text == "hi"


def test_shadow_files_of_macos_are_no_recordings(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    (tmp_path / "._a.wav").write_bytes(b"junk")
    assert [utterance.id for utterance in load_corpus(tmp_path)] == ["a.wav"]


def test_joined_corpora_keep_ids_apart_and_draws_blind_to_order(tmp_path: Path) -> None:
    folders = [clip(tmp_path / name / "1.wav").parent for name in ("p", "q")]
    clip(tmp_path / "q" / "2.wav")
    joined = load_corpus(folders)
    assert [u.id for u in joined] == [f"{folders[0]}/1.wav", f"{folders[1]}/1.wav", "2.wav"]
    for seed in range(5):
        first, second = (
            [u.audio for u in load_corpus(order).sample(2, seed=seed)]
            for order in (folders, folders[::-1])
        )
        assert first == second


def test_dataset_bytes_stay_on_disk_until_loaded(tmp_path: Path) -> None:
    content = clip(tmp_path / "a.wav").read_bytes()
    table({"bytes": content, "path": "a.wav"}).save_to_disk(tmp_path / "v1@x")  # type: ignore[attr-defined]
    (spoken,) = load_corpus(f"hf:{tmp_path / 'v1@x'}")
    assert not isinstance(spoken.audio, bytes)
    assert len(pickle.loads(pickle.dumps(spoken)).load()) == 1_600
    in_memory = Corpus(utterances=(Utterance(id="x", audio=content),), origin="x")
    assert load_corpus(f"hf:{tmp_path / 'v1@x'}").fingerprint() == in_memory.fingerprint()


def test_a_dataset_may_hold_paths(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav")
    made = datasets.Dataset.from_dict({"audio": [{"bytes": None, "path": str(path)}]})
    made.to_parquet(tmp_path / "plain" / "test.parquet")  # a plain struct, not an Audio feature
    (spoken,) = load_corpus(f"hf:{tmp_path / 'plain'}")
    assert spoken.audio == path


def test_a_row_without_audio_is_named(tmp_path: Path) -> None:
    content = clip(tmp_path / "a.wav").read_bytes()
    table({"bytes": content, "path": "a.wav"}, None).save_to_disk(tmp_path / "saved")  # type: ignore[attr-defined]
    with pytest.raises(CorpusError, match="row 1: 'audio' holds neither bytes nor a path"):
        load_corpus(f"hf:{tmp_path / 'saved'}")


def test_a_split_of_a_table_without_splits_is_refused(tmp_path: Path) -> None:
    content = clip(tmp_path / "a.wav").read_bytes()
    table({"bytes": content, "path": "a.wav"}).save_to_disk(tmp_path / "saved")  # type: ignore[attr-defined]
    with pytest.raises(CorpusError, match="one table without splits: leave out @dev"):
        load_corpus(f"hf:{tmp_path / 'saved'}@dev")


def test_manifests_keep_ids_of_files_outside_them(tmp_path: Path) -> None:
    path = clip(tmp_path / "far" / "a.wav")
    write_manifest(tmp_path / "near" / "m.jsonl", [Utterance(id="x", audio=path)])
    assert read_manifest(tmp_path / "near" / "m.jsonl")[0].id == path.as_posix()
