import json
from pathlib import Path

import numpy as np
import pytest

from liteasr.corpus import Utterance, load_corpus, read_manifest, write_manifest
from liteasr.errors import AudioError, CorpusError
from tiny_audio import write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wav(tmp_path / "a.wav", np.full(16_000, 0.1, dtype=np.float32))
    write_wav(tmp_path / "b.wav", np.linspace(-0.5, 0.5, 32_000, dtype=np.float32))
    return tmp_path


def manifest(folder: Path, *lines: object) -> Path:
    path = folder / "manifest.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts))
    return path


def test_our_keys(folder: Path) -> None:
    line = {"audio": "a.wav", "text": "hi", "duration": 1, "language": "en", "speaker": "x"}
    (found,) = read_manifest(manifest(folder, line))
    assert found == Utterance(
        id="a.wav", audio=folder / "a.wav", text="hi", language="en", duration_s=1.0, speaker="x"
    )


def test_nemo_keys_and_slices(folder: Path) -> None:
    line = {"audio_filepath": "b.wav", "offset": 0.5, "duration": 0.25, "lang": "de"}
    (found,) = read_manifest(manifest(folder, line))
    assert found.language == "de"
    waveform = found.load()
    assert len(waveform) == 4_000
    np.testing.assert_array_equal(
        waveform, Utterance(id="b", audio=folder / "b.wav").load()[8_000:12_000]
    )


def test_a_slice_without_duration_goes_to_the_end(folder: Path) -> None:
    (found,) = read_manifest(manifest(folder, {"audio": "b.wav", "offset": 1.5}))
    assert len(found.load()) == 8_000


def test_a_slice_past_the_end_is_an_error(folder: Path) -> None:
    (found,) = read_manifest(manifest(folder, {"audio": "b.wav", "offset": 9}))
    with pytest.raises(AudioError, match=r"9\.0 s lies past the end of a recording of 2\.00 s"):
        found.load()


def test_absolute_paths_and_blank_lines(folder: Path) -> None:
    path = manifest(folder, "", {"audio": str(folder / "a.wav")}, "  ", {"audio": "b.wav"})
    assert [utterance.id for utterance in read_manifest(path)] == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "not JSON"),
        ("[1, 2]", "expected an object, got list"),
        ({"text": "hi"}, "needs 'audio'"),
        ({"audio": 3}, "needs 'audio'"),
        ({"audio": "none.wav"}, r"none\.wav does not exist"),
        ({"audio": "a.wav", "text": 3}, "'text' must be a string, got 3"),
        ({"audio": "a.wav", "duration": "long"}, "'duration' must be seconds"),
        ({"audio": "a.wav", "duration": -1}, "'duration' must be seconds"),
        ({"audio": "a.wav", "offset": True}, "'offset' must be seconds"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(folder: Path, line: object, message: str) -> None:
    path = manifest(folder, {"audio": "a.wav"}, "", line)
    with pytest.raises(CorpusError, match=rf"manifest\.jsonl, line 3: .*{message}"):
        read_manifest(path)


def test_unreadable_manifests_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot read"):
        read_manifest(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="cannot read"):
        read_manifest(tmp_path / "bytes.jsonl")


def test_written_manifests_read_back(folder: Path) -> None:
    lines = ({"audio": "a.wav", "text": "größe", "language": "de"}, {"audio": "b.wav", "offset": 1})
    utterances = read_manifest(manifest(folder, *lines))
    write_manifest(folder / "again.jsonl", utterances)
    assert read_manifest(folder / "again.jsonl") == utterances
    assert load_corpus(folder / "again.jsonl").utterances == utterances


def test_audio_in_memory_cannot_be_written_down(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no path"):
        write_manifest(tmp_path / "m.jsonl", [Utterance(id="x", audio=b"abc")])
    assert list(tmp_path.iterdir()) == []
