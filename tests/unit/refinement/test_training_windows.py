from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from liteasr.corpus import Corpus, Utterance
from liteasr.encoders import adapter_for
from liteasr.refinement import windows as module
from liteasr.refinement.pieces import Piece, Said, join_said, pieces_of
from liteasr.refinement.windows import (
    TrainingWindows,
    _equalized,
    _misheard,
    held_out_windows,
)
from liteasr.runtime.forcing import Forcing, forcing_for
from liteasr.sources import SpeechModel
from tiny_audio import wav_bytes


def cut(speech: SpeechModel, corpus: Corpus, forcing: Forcing | None = None) -> list[Piece]:
    adapter = adapter_for(speech.model)
    found = (pieces_of(corpus, i, adapter, speech, forcing) for i in range(len(corpus)))
    return [piece for pieces in found for piece in pieces]


def drawing(speech: SpeechModel, corpus: Corpus, **changes: Any) -> TrainingWindows:
    options = {"positions": 1500, "seed": 0, "short_share": 0.0, "augment": True}
    options |= {"forcing": None, "pieces": cut(speech, corpus), **changes}
    pieces = options.pop("pieces")
    return TrainingWindows(corpus, pieces, speech, adapter_for(speech.model), **options)


def features(window) -> torch.Tensor:  # type: ignore[no-untyped-def]
    found: torch.Tensor = window.input.tensors["input_features"]
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


def test_some_windows_are_full_and_most_end_in_padding(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    windows = drawing(tiny_speech, corpus)
    lengths = np.array([windows.draw(step, 0).input.duration_s for step in range(40)])
    assert lengths.max() == pytest.approx(30.0)
    assert 0.1 < np.mean(lengths > 29.9) < 0.5
    assert np.mean(lengths < 10) > 0.2


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
        assert windows.draw(step, 0).input.duration_s <= 30.0
    assert len(windows._recent) == 2


def test_pieces_as_they_are_are_all_of_them_or_so_many_by_chance(  # type: ignore[no-untyped-def]
    tiny_speech, corpus: Corpus
) -> None:
    def seen(windows: TrainingWindows, most: int) -> list[float]:
        drawn = windows.as_they_are(most)
        return [float(features(one).sum()) for one, _ in drawn]

    adapter, drawn = adapter_for(tiny_speech.model), drawing(tiny_speech, corpus)
    plain = [next(iter(adapter.inputs(tiny_speech.processor, one.load()))) for one in corpus]
    expected = [float(one.tensors["input_features"].sum()) for one in plain]
    assert len(drawn) == len(corpus)
    assert sorted(seen(drawn, 99)) == sorted(expected), "nothing is varied"
    assert seen(drawn, 2) == seen(drawing(tiny_speech, corpus), 99)[:2]
    assert seen(drawn, 99) != seen(drawing(tiny_speech, corpus, seed=1), 99)


def test_silent_recordings_do_no_harm(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    silent = Utterance(id="silent", audio=wav_bytes(np.zeros(16_000, dtype=np.float32)))
    windows = drawing(tiny_speech, Corpus(utterances=(silent,), origin="test"))
    assert all(torch.isfinite(features(windows.draw(step, 0))).all() for step in range(6))


def test_checks_cover_single_clips_and_full_windows(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    adapter, pieces = adapter_for(tiny_speech.model), cut(tiny_speech, corpus)
    made = held_out_windows(corpus, pieces, tiny_speech, adapter, forcing=None, seed=0)
    assert made[0].input.duration_s == pytest.approx(1.5)
    assert made[1].input.duration_s > 10
    assert len(made) == 2  # the second took all that was left
    assert {window.said for window in made} == {None}


def test_recordings_are_cut_into_windows_and_a_short_rest_is_dropped(tiny_speech, babble) -> None:  # type: ignore[no-untyped-def]
    lengths = {29.0: [29.0], 32.0: [30.0], 64.0: [30.0, 30.0, 4.0]}
    for length, expected in lengths.items():
        clip = Utterance(id="long", audio=wav_bytes(babble(0, length)))
        pieces = cut(tiny_speech, Corpus(utterances=(clip,), origin="test"))
        assert [(p.stop - p.start) / 16_000 for p in pieces] == pytest.approx(expected)


def test_texts_are_joined_in_order_and_end_where_the_speech_does(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    forcing = forcing_for(tiny_speech)
    first, second = Said((1, 2), (5, 6)), Said((1, 2), (7,))
    joined = join_said([first, second], forcing, ended=True)
    assert joined == Said((1, 2), (5, 6, 7, forcing.end_token))
    assert join_said([first], forcing, ended=False) == first
    assert join_said([], forcing, ended=True) is None
    long = join_said([Said((1, 2), tuple(range(500)))], forcing, ended=True)
    assert long is not None
    assert len(long.prompt) + len(long.targets) == forcing.longest


def test_a_window_tells_what_the_original_says_of_its_pieces(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    forcing = forcing_for(tiny_speech)
    pieces = [
        replace(piece, said=Said((1,), (10 + k, 10 + k)))
        for k, piece in enumerate(cut(tiny_speech, corpus))
    ]
    windows = drawing(tiny_speech, corpus, pieces=pieces, forcing=forcing, augment=False)
    texts = [windows.draw(step, 0).said for step in range(12)]
    assert all(text is not None and text.prompt == (1,) for text in texts)
    ended = [text.targets[-1] == forcing.end_token for text in texts if text is not None]
    assert 0 < sum(ended) < len(ended), "a piece that is cut off has no end"
    words = [t for text in texts if text for t in text.targets if t != forcing.end_token]
    assert set(words) <= set(range(10, 10 + len(corpus)))


def test_languages_are_not_mixed_and_rare_ones_come_more_often(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    languages = ("de", *("en",) * (len(corpus) - 1))
    spoken = replace(
        corpus,
        utterances=tuple(
            replace(u, language=code) for u, code in zip(corpus, languages, strict=True)
        ),
    )
    pieces = [
        replace(piece, said=Said((code,), (1,)))
        for piece, code in zip(cut(tiny_speech, spoken), (0, *(1,) * 5), strict=True)
    ]
    forcing = forcing_for(tiny_speech)
    windows = drawing(tiny_speech, spoken, pieces=pieces, forcing=forcing)
    assert windows._shares == pytest.approx([1 / (1 + 5**0.5), 5**0.5 / (1 + 5**0.5)])
    assert [len(pool) for pool in windows._pools] == [1, 5]
    prompts = {windows.draw(step, 0).said.prompt for step in range(8)}  # type: ignore[union-attr]
    assert prompts == {(0,), (1,)}


def test_silent_pieces_are_left_out_where_others_say_something(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    silent, *spoken = cut(tiny_speech, corpus)
    spoken = [replace(piece, said=Said((1,), (2,))) for piece in spoken]
    forcing = forcing_for(tiny_speech)
    windows = drawing(tiny_speech, corpus, pieces=[silent, *spoken], forcing=forcing)
    assert windows._pools == [spoken]


def test_some_tokens_are_misheard_and_the_text_stays_as_long(rng: np.random.Generator) -> None:
    said = Said((1, 2), tuple(range(1000, 2000)))
    found = _misheard(said, np.arange(5000, 6000), rng)
    assert found.prompt == said.prompt
    assert len(found.targets) == 1000
    wrong = [a for a, b in zip(found.targets, said.targets, strict=True) if a != b]
    assert set(wrong) <= set(range(5000, 6000))
    assert len(wrong) == pytest.approx(1000 * module.MISHEARD_SHARE, rel=0.3)


def test_timbre_varies_smoothly_within_some_decibels(rng: np.random.Generator) -> None:
    impulse = np.zeros(16_000)
    impulse[8_000] = 1.0
    gains = np.abs(np.fft.rfft([_equalized(impulse, rng) for _ in range(40)]))
    decibels = 20 * np.log10(gains)
    assert np.abs(np.diff(decibels[:, 60:])).max() < 1.0
    assert 1.0 < decibels.std() < 2 * module.BAND_DB
