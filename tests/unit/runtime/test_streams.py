"""Long recordings as stretches that are transcribed at the same time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from liteasr.runtime import TranscriptionOptions, faster_whisper, transcriber_for
from liteasr.runtime.decoder_choice import decoder_parts
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.runtime.streams import divided
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources import SpeechModel
from scripted_whisper import english_only, scripted

MakeWave = Callable[[int, float], np.ndarray]
RATE = 16_000
OPTIONS = TranscriptionOptions(language="en", temperature=(0.0,), logprob_threshold=None,
                               no_speech_threshold=None, compression_ratio_threshold=None,
                               max_new_tokens=3, context=64)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 1), (119.0, 1), (121.0, 2), (400.0, 3)])
def test_all_is_there_in_about_equal_stretches(seconds: float, count: int) -> None:
    waveform = np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)
    starts, parts = zip(*divided(waveform, 3), strict=True)
    assert len(parts) == count
    assert np.array_equal(np.concatenate(parts), waveform)
    assert np.allclose(np.diff(starts), [len(part) / RATE for part in parts[:-1]])
    assert all(0.5 < len(part) / (len(waveform) / count) < 1.5 for part in parts)


def test_the_cut_is_where_it_is_quiet() -> None:
    waveform = np.random.default_rng(0).standard_normal(200 * RATE).astype(np.float32)
    waveform[90 * RATE : 91 * RATE] = 0
    (_, _), (start, _) = divided(waveform, 2)
    assert 90 < start < 91


def hybrid(speech: SpeechModel, streams: int) -> FasterWhisperTranscriber:
    speech = english_only(speech)
    return FasterWhisperTranscriber(
        decoder_parts(speech, "float32"), TorchEncoder(speech), streams=streams
    )


def test_streams_say_what_each_stretch_says_at_its_time(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 10.0, "b": 9.0, "<|29.00|>": 12.0})
    waveform = babble(0, 130.0)
    heard = hybrid(speech, 2).transcribe(waveform, OPTIONS)
    one = hybrid(speech, 1)
    (_, first), (start, second) = divided(waveform, 2)
    parts = [one.transcribe(part, OPTIONS) for part in (first, second)]
    assert heard.text == "".join(s.text for part in parts for s in part.segments).strip()
    assert [s.start for s in heard.segments] == pytest.approx(
        [s.start for s in parts[0].segments] + [start + s.start for s in parts[1].segments],
        abs=2e-3,
    )
    assert [s.id for s in heard.segments] == list(range(len(heard.segments)))
    assert (heard.language, heard.duration_s) == ("en", 130.0)


def test_streams_share_the_threads_that_there_are(
    tiny_speech: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faster_whisper, "decoder_threads", lambda width, available: available)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    given: list[int] = []

    class Noting(faster_whisper.HybridWhisperModel):  # type: ignore[misc]
        def __init__(self, *positional: object, cpu_threads: int, **options: object) -> None:
            given.append(cpu_threads)
            super().__init__(*positional, cpu_threads=1, **options)

    monkeypatch.setattr(faster_whisper, "HybridWhisperModel", Noting)
    for streams in (1, 2, 8):
        hybrid(tiny_speech, streams)
    assert given == [4, 2, 1]


def test_what_fails_in_one_stretch_is_raised(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    transcriber = hybrid(tiny_speech, 2)

    class Broken:
        name = "broken"

        def encode(self, features: np.ndarray) -> np.ndarray:
            raise MemoryError("no more")

    transcriber.model.model._encoder = Broken()
    with pytest.raises(MemoryError, match="no more"):
        transcriber.transcribe(babble(0, 130.0), replace(OPTIONS, context="off"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": 0}, "streams must be at least 1, got 0"),
        ({"streams": 2, "batch_size": 8}, "batch_size and streams are two ways"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_speech: SpeechModel, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        transcriber_for(english_only(tiny_speech), runtime="faster-whisper", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are of the runtime 'faster-whisper'"):
        transcriber_for(tiny_speech, streams=2)
