"""What a window leaves unsaid is said, batch by batch."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel

from liteasr.runtime.pipelining import PipelinedInference

TEXT, BLANK, MURMUR, TIMES = 7, 8, 9, 100  # words, and <|0.00|>
WORDS = {TEXT: "word", BLANK: " ", MURMUR: "hm"}
OPTIONS = SimpleNamespace(word_timestamps=False, no_speech_threshold=0.6, log_prob_threshold=-1.0,
                          compression_ratio_threshold=2.4)  # fmt: skip


def at(seconds: float) -> int:
    return TIMES + round(seconds / 0.02)


class Decoder:
    """Says of each window what a script has for the frame it begins with."""

    def __init__(self, said: dict[int, list[int]]) -> None:
        self.said = said
        self.asked: list[list[int]] = []

    def __call__(self, _: Any, windows: Any, tokenizer: Any, options: Any) -> tuple[None, Any]:
        first = [int(window[0, 0]) for window in windows]
        assert {window.shape for window in windows} == {(2, 3000)}
        self.asked.append(first)
        row = {"avg_logprob": -2.0, "no_speech_prob": 0.0}
        silent = {**row, "no_speech_prob": 0.9}
        return None, [
            {**(silent if MURMUR in self.said[frame] else row), "tokens": self.said[frame]}
            for frame in first
        ]


def heard(
    monkeypatch: pytest.MonkeyPatch, said: dict[int, list[int]], durations: list[float]
) -> tuple[list[list[tuple[float, float]]], list[list[int]]]:
    """Times of the segments of each window, and with which frames windows began."""
    decoder = Decoder(said)
    monkeypatch.setattr(
        BatchedInferencePipeline, "generate_segment_batched", lambda *given: decoder(*given)
    )
    model = SimpleNamespace(frames_per_second=100, input_stride=2, time_precision=0.02)
    model._split_segments_by_timestamps = WhisperModel._split_segments_by_timestamps.__get__(model)
    tokenizer = SimpleNamespace(
        timestamp_begin=TIMES, decode=lambda tokens: "".join(WORDS.get(t, "") for t in tokens)
    )
    frames = np.arange(10_000, dtype=np.float32)
    offsets = np.cumsum([0.0, *durations])[:-1]
    windows = np.stack([np.tile(frames[int(s * 100) :][:3000], (2, 1)) for s in offsets])
    for window, duration in zip(windows, durations, strict=True):
        window[:, int(duration * 100) :] = 0
    chunks = [{"offset": s, "duration": d} for s, d in zip(offsets, durations, strict=True)]
    found = PipelinedInference(model).forward(windows, tokenizer, chunks, OPTIONS)
    times = [[(round(s["start"], 2), round(s["end"], 2)) for s in row] for row in found]
    return times, decoder.asked


def test_an_unfinished_sentence_is_heard_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {
        0: [at(0), TEXT, at(4), at(4), TEXT, TEXT],  # the second sentence has no end
        400: [at(0), TEXT, at(3), at(3), TEXT],
        700: [at(0), TEXT, at(2.5), at(2.5)],
        1000: [at(0), TEXT, at(9), at(9), TEXT, at(20)],  # all is said
    }
    times, asked = heard(monkeypatch, said, [10.0, 20.0])
    assert times == [[(0, 4), (4, 7), (7, 9.5)], [(10, 19), (19, 30)]]
    assert asked == [[0, 1000], [400], [700]]


def test_several_windows_go_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    first, rest = [at(0), TEXT, at(5), at(5), TEXT], [at(0), TEXT, at(5)]
    said = dict.fromkeys((0, 1000, 2000), first) | dict.fromkeys((500, 1500, 2500), rest)
    times, asked = heard(monkeypatch, said, [10.0, 10.0, 10.0])
    assert asked == [[0, 1000, 2000], [500, 1500, 2500]]
    assert [row[-1] for row in times] == [(5, 10), (15, 20), (25, 30)]


@pytest.mark.parametrize("rest", [[], [BLANK], [MURMUR], [TEXT] * 40])
def test_a_rest_that_says_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch, rest: list[int]
) -> None:
    said = {0: [at(0), TEXT, at(5), at(5), TEXT], 500: rest}
    times, asked = heard(monkeypatch, said, [10.0])
    assert times == [[(0, 5)]]
    assert asked == [[0], [500]]


@pytest.mark.parametrize(
    "tokens",
    [
        [at(0), TEXT, at(0.5), at(0.5), TEXT],  # hardly anything was said
        [at(0), TEXT, at(9.2), at(9.2), TEXT],  # less than a second is left
        [at(0), TEXT, at(4)],  # nobody speaks behind it
        [TEXT, TEXT],  # without times
        [at(0), at(0), TEXT],  # nothing was said before
    ],
)
def test_windows_that_are_done_are_not_heard_again(
    monkeypatch: pytest.MonkeyPatch, tokens: list[int]
) -> None:
    _, asked = heard(monkeypatch, {0: tokens}, [10.0])
    assert asked == [[0]]
