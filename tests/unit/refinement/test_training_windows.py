from pathlib import Path

import numpy as np
import pytest
import torch

from liteasr.corpus import Corpus, Utterance, load_corpus
from liteasr.encoders import adapter_for
from liteasr.refinement import windows as module
from liteasr.refinement.windows import TrainingWindows, held_out_windows
from tiny_audio import wav_bytes


@pytest.fixture
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)


def drawing(speech, corpus: Corpus, **changes: float) -> TrainingWindows:  # type: ignore[no-untyped-def]
    options = {"window_s": 30.0, "positions": 1500, "seed": 0, "short_share": 0.0, "augment": True}
    options |= changes
    return TrainingWindows(corpus, adapter_for(speech.model), speech.processor, **options)  # type: ignore[arg-type]


def features(window) -> torch.Tensor:  # type: ignore[no-untyped-def]
    found: torch.Tensor = window.tensors["input_features"]
    return found


def test_the_same_place_gives_the_same_window(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    first, second = drawing(tiny_speech, corpus), drawing(tiny_speech, corpus)
    second.draw(0, 0)  # what was drawn before does not matter
    assert torch.equal(features(first.draw(3, 1)), features(second.draw(3, 1)))


def test_places_steps_and_seeds_differ(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    windows, other = drawing(tiny_speech, corpus), drawing(tiny_speech, corpus, seed=1)
    drawn = [windows.draw(0, 0), windows.draw(0, 1), windows.draw(1, 0), other.draw(0, 0)]
    for a in range(4):
        for b in range(a):
            assert not torch.equal(features(drawn[a]), features(drawn[b]))


def test_short_clips_fill_half_of_the_windows(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    windows = drawing(tiny_speech, corpus)
    lengths = [windows.draw(step, 0).duration_s for step in range(40)]
    assert max(lengths) == pytest.approx(30.0)
    assert 0.25 < np.mean(np.array(lengths) > 29.9) < 0.75
    assert min(lengths) < 20


def test_short_windows_have_one_length_per_step(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    windows = drawing(tiny_speech, corpus, short_share=0.5)
    frames = [[features(windows.draw(s, p)).shape[-1] for p in range(2)] for s in range(20)]
    assert all(a == b for a, b in frames)
    assert 0 < sum(a == 3000 for a, _ in frames) < 20
    assert all(300 <= a <= 1500 or a == 3000 for a, _ in frames)


def test_long_recordings_are_cut_and_memory_is_bounded(  # type: ignore[no-untyped-def]
    tiny_speech, babble, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tuple(Utterance(id=str(i), audio=wav_bytes(babble(i, 40.0))) for i in range(3))
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * 40 * 16_000 * 4)
    windows = drawing(tiny_speech, Corpus(utterances=long, origin="test"), augment=False)
    for step in range(8):
        assert windows.draw(step, 0).duration_s <= 30.0
    assert len(windows._recent) == 2


def test_silent_recordings_do_no_harm(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    silent = Utterance(id="silent", audio=wav_bytes(np.zeros(16_000, dtype=np.float32)))
    windows = drawing(tiny_speech, Corpus(utterances=(silent,), origin="test"))
    assert all(torch.isfinite(features(windows.draw(step, 0))).all() for step in range(6))


def test_checks_cover_single_clips_and_full_windows(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    adapter = adapter_for(tiny_speech.model)
    made = held_out_windows(corpus, adapter, tiny_speech.processor, window_s=30.0, seed=0)
    assert made[0].duration_s == pytest.approx(1.5)
    assert made[1].duration_s > 10
    assert len(made) == 2  # the second took all that was left
