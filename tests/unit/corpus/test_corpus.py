import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from liteasr.corpus import Corpus, Utterance, load_corpus, mix_noise
from liteasr.errors import AudioError, CorpusError
from tiny_audio import write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "speech"
    for number, name in enumerate(["one.wav", "deep/two.wav", "deep/three.WAV"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, np.full(1_600 + number, 0.1, dtype=np.float32))
    (root / "one.txt").write_text("the first\n")
    (root / "notes.md").write_text("not audio")
    return root


def ids(corpus: Corpus) -> list[str]:
    return [utterance.id for utterance in corpus]


def many(count: int) -> Corpus:
    made = tuple(Utterance(id=f"{n:03d}", audio=bytes([n])) for n in range(count))
    return Corpus(utterances=made, origin="many")


def test_a_folder_is_read_deep_and_sorted(folder: Path) -> None:
    corpus = load_corpus(folder)
    assert ids(corpus) == ["deep/three.WAV", "deep/two.wav", "one.wav"]
    assert [utterance.text for utterance in corpus] == [None, None, "the first"]
    assert corpus[2].load().shape == (1_600,)


def test_a_manifest_in_the_folder_wins(folder: Path) -> None:
    (folder / "manifest.jsonl").write_text('{"audio": "one.wav", "text": "x"}')
    assert ids(load_corpus(folder)) == ["one.wav"]


def test_lists_of_paths(folder: Path) -> None:
    listing = folder / "list.txt"
    listing.write_text("# comment\none.wav\n\ndeep/two.wav\n")
    assert ids(load_corpus(listing)) == ["one.wav", "deep/two.wav"]
    listing.write_text("one.wav\nnone.wav\n")
    with pytest.raises(CorpusError, match=r"list\.txt, line 2: .*none\.wav does not exist"):
        load_corpus(listing)


def test_one_file_and_several_references(folder: Path) -> None:
    corpus = load_corpus([folder / "one.wav", str(folder / "deep")])
    assert ids(corpus) == ["one.wav", "three.WAV", "two.wav"]
    assert " + " in corpus.origin


def test_what_is_no_corpus_says_what_would_be(folder: Path) -> None:
    with pytest.raises(CorpusError, match="does not exist"):
        load_corpus(folder / "none")
    with pytest.raises(CorpusError, match="neither a folder"):
        load_corpus(folder / "notes.md")
    (folder / "empty").mkdir()
    with pytest.raises(CorpusError, match="holds no audio"):
        load_corpus(folder / "empty")
    with pytest.raises(CorpusError, match="an empty list holds no audio"):
        load_corpus([])
    (folder / "latin.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="cannot read"):
        load_corpus(folder / "latin.txt")


def test_sampling_is_seeded_and_blind_to_the_order() -> None:
    corpus = many(50)
    backwards = Corpus(utterances=corpus.utterances[::-1], origin="backwards")
    drawn = ids(corpus.sample(10, seed=1))
    assert drawn == ids(backwards.sample(10, seed=1))
    assert drawn != ids(corpus.sample(10, seed=2))
    assert len(set(drawn)) == 10
    assert drawn[:5] == ids(corpus.sample(5, seed=1))


def test_a_sample_larger_than_the_corpus_is_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        assert len(many(3).sample(10)) == 3
    assert "3 utterances, fewer than 10" in caplog.text
    with pytest.raises(ValueError, match="at least 1 utterance, got 0"):
        many(3).sample(0)


def test_a_sample_is_loaded_as_it_is_drawn(folder: Path) -> None:
    for ref in (folder, [folder / "one.wav", folder / "deep"]):
        drawn = load_corpus(ref, samples=2, seed=1)
        assert drawn == load_corpus(ref).sample(2, seed=1)


def test_splits_are_disjoint_and_complete() -> None:
    first, second = many(20).split(8, seed=3)
    assert len(first) == 8
    assert set(ids(first)).isdisjoint(ids(second))
    assert sorted(ids(first) + ids(second)) == ids(many(20))
    for count in (0, 20):
        with pytest.raises(ValueError, match=f"1 to 19, got {count}"):
            many(20).split(count)


def test_fingerprints_follow_the_audio_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    before = load_corpus(folder).fingerprint()
    shutil.copytree(folder, tmp_path / "moved")
    assert load_corpus(tmp_path / "moved").fingerprint() == before
    content = bytearray((folder / "one.wav").read_bytes())
    content[-1] ^= 1
    (folder / "one.wav").write_bytes(content)
    assert load_corpus(folder).fingerprint() != before


def test_slices_of_one_recording_have_different_fingerprints() -> None:
    slices = [Utterance(id="x", audio=b"abc", offset_s=s, duration_s=1.0) for s in (0.0, 1.0)]
    assert slices[0].digest() != slices[1].digest()


def test_audio_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav"):
        Utterance(id="x", audio=tmp_path / "gone.wav").digest()


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0])
@pytest.mark.parametrize("noise_samples", [700, 50_000])
def test_the_mix_has_the_ratio_asked_for(  # type: ignore[no-untyped-def]
    snr_db: float, noise_samples: int, babble, rng: np.random.Generator
) -> None:
    speech = babble(0, 1.0)
    noise = rng.standard_normal(noise_samples).astype(np.float32)
    added = mix_noise(speech, noise, snr_db, rng=rng) - speech
    ratio = 10 * np.log10(np.mean(np.square(speech)) / np.mean(np.square(added)))
    assert ratio == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("silent", ["speech", "noise", "no noise"])
def test_silence_has_no_ratio(silent: str, rng: np.random.Generator) -> None:
    speech = np.zeros(100) if silent == "speech" else np.ones(100)
    noise = {"noise": np.zeros(100), "no noise": np.zeros(0)}.get(silent, np.ones(100))
    with pytest.raises(ValueError, match="not silent"):
        mix_noise(speech, noise, 10, rng=rng)


@pytest.mark.parametrize("ending", ["3gp", "aiff", "amr", "caf", "G722"])
def test_what_telephones_and_macs_record_is_found(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.{ending}").touch()
    assert ids(load_corpus(tmp_path)) == [f"a.{ending}"]
