"""faster-whisper with an encoder of ours: what is encoded, how long, how often."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
from faster_whisper import BatchedInferencePipeline

from liteasr.errors import TranscriptionError, UnsupportedModelError
from liteasr.runtime import TranscriptionOptions, faster_whisper, transcriber_for
from liteasr.runtime.decoder_choice import decoder_parts
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.runtime.hybrid import LoopGuard
from liteasr.runtime.pipelining import EncodedAhead, PipelinedInference
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources import SpeechModel
from scripted_whisper import english_only, scripted

MakeWave = Callable[[int, float], np.ndarray]
OPTIONS = TranscriptionOptions(language="en", temperature=(0.0,), logprob_threshold=None,
                               no_speech_threshold=None, compression_ratio_threshold=None,
                               max_new_tokens=8)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))


@dataclass
class Counting:
    """An encoder that notes the shapes it is given."""

    encoder: TorchEncoder
    shapes: list[tuple[int, ...]]
    name: str = "counting"

    def encode(self, features: np.ndarray) -> np.ndarray:
        self.shapes.append(features.shape)
        return self.encoder.encode(features)


def hybrid(speech: SpeechModel) -> tuple[FasterWhisperTranscriber, list[tuple[int, ...]]]:
    encoder = Counting(TorchEncoder(speech), [])
    made = FasterWhisperTranscriber(decoder_parts(english_only(speech), "float32"), encoder)
    return made, encoder.shapes


@pytest.mark.parametrize("seconds", [0.001, 0.5, 2.0, 35.0])
@pytest.mark.parametrize("context", ["off", "auto", 64])
def test_it_says_what_transformers_says(
    tiny_speech: SpeechModel, babble: MakeWave, seconds: float, context: Any
) -> None:
    speech = scripted(english_only(tiny_speech), {"a": 10.0, "b": 9.0, "<|29.00|>": 12.0})
    options = replace(OPTIONS, context=context, max_new_tokens=3)
    transcriber, _ = hybrid(speech)
    ours = transcriber.transcribe(babble(0, seconds), options)
    theirs = transcriber_for(speech).transcribe(babble(0, seconds), options)
    assert ours.text == theirs.text or seconds < 0.01  # faster-whisper hears nothing in 10 ms
    assert (ours.duration_s, ours.language, ours.model) == (theirs.duration_s, "en", "tiny")
    assert all(s.end <= ours.duration_s for s in ours.segments)


def test_windows_are_fitted_to_their_audio(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    transcriber, shapes = hybrid(scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 12.0}))
    transcriber.transcribe(babble(0, 35.0), replace(OPTIONS, context=64))
    transcriber.transcribe(babble(0, 2.0), replace(OPTIONS, context="off"))
    assert shapes == [(1, 80, 3000), (1, 80, 2 * (300 + 64)), (1, 80, 3000)]


def test_loops_end_at_the_full_context(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    transcriber, shapes = hybrid(scripted(tiny_speech, {"a": 20.0}))
    options = replace(OPTIONS, max_new_tokens=None, timestamps=False)
    looped = transcriber.transcribe(babble(0, 2.0), replace(options, context=64))
    assert [shape[2] // 2 for shape in shapes] == [164, 328, 656, 1312, 1500]
    assert (
        looped.text == transcriber.transcribe(babble(0, 2.0), replace(options, context="off")).text
    )


def test_hot_retries_see_the_full_window_encoded_once(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    transcriber, shapes = hybrid(scripted(tiny_speech, {"a": 4.0}))
    options = replace(OPTIONS, temperature=(0.0, 0.5, 1.0), logprob_threshold=-1.0)
    transcriber.transcribe(babble(0, 2.0), replace(options, context=64))
    assert [shape[2] // 2 for shape in shapes] == [164, 1500]


def test_sampling_repeats(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(tiny_speech, {"a": 20.0, "b": 19.9, "c": 19.9})
    options = replace(OPTIONS, temperature=(1.0,), timestamps=False)
    texts = [
        hybrid(speech)[0].transcribe(babble(0, 2.0), replace(options, seed=seed)).text
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_the_batched_pipeline_runs_on_it(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    transcriber, shapes = hybrid(scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 12.0}))
    segments, _ = BatchedInferencePipeline(transcriber.model).transcribe(
        babble(0, 20.0), vad_filter=False, batch_size=2, max_new_tokens=4, temperature=0.0,
        clip_timestamps=[{"start": 0, "end": 8}, {"start": 8, "end": 14}, {"start": 14, "end": 20}],
    )  # fmt: skip
    assert len({segment.seek for segment in segments}) == 3
    assert [shape[0] for shape in shapes] == [2, 1]
    assert shapes[0][2] // 2 == 400 + 512


def test_batches_are_encoded_ahead_and_say_the_same(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    transcriber, shapes = hybrid(scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 12.0}))
    clips = [{"start": second, "end": second + 3} for second in range(0, 18, 3)]
    options = {"clip_timestamps": clips, "max_new_tokens": 4, "batch_size": 2, "temperature": 0.0}
    found = []
    for pipeline in (BatchedInferencePipeline, PipelinedInference):
        shapes.clear()
        found.append(list(pipeline(transcriber.model).transcribe(babble(0, 18.0), **options)[0]))
        assert [shape[0] for shape in shapes] == [2, 2, 2]
    assert found[0] == found[1]
    assert len({segment.seek for segment in found[1]}) == 6


def test_the_next_batch_is_encoded_while_one_is_decoded(tiny_speech: SpeechModel) -> None:
    """The second batch begins before the first is asked for, and none is encoded twice."""
    transcriber, shapes = hybrid(tiny_speech)
    windows = np.ones((5, 80, 3000), np.float32)
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = EncodedAhead(transcriber.model.reading(context=10, pooling=1), windows, 2, pool)
        first = ahead[0:2]
        pool.submit(lambda: None).result()  # all that was begun is done
        assert [shape[0] for shape in shapes] == [2, 2]
        assert first.shape == (2, 80, 3000)
        assert transcriber.model.encode(first).shape == [2, 1500, 64]
        assert [ahead[start : start + 2].result().shape[0] for start in (2, 4)] == [2, 1]
    assert len(ahead) == 5
    assert [shape[0] for shape in shapes] == [2, 2, 1]


def test_the_transcriber_can_decode_in_batches(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(english_only(tiny_speech), {"a": 10.0, "<|29.00|>": 12.0})
    parts = decoder_parts(speech)
    transcriber = FasterWhisperTranscriber(parts, TorchEncoder(speech), batch_size=4)
    transcript = transcriber.transcribe(babble(0, 4.0), OPTIONS)
    assert set(transcript.text) <= {"a"}
    with pytest.raises(TranscriptionError, match="leave batch_size out"):
        transcriber.transcribe(babble(0, 1.0), replace(OPTIONS, condition_on_previous_text=True))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        FasterWhisperTranscriber(parts, TorchEncoder(speech), batch_size=0)


def test_words_have_times(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    transcriber, _ = hybrid(scripted(tiny_speech, {"a": 10.0, "<|1.00|>": 12.0}))
    options = replace(OPTIONS, word_timestamps=True)
    for segment in transcriber.transcribe(babble(0, 3.0), options).segments:
        assert "".join(word.word for word in segment.words) == segment.text
        assert all(0.0 <= word.start <= word.end <= 3.0 for word in segment.words)


class FakeWhisper:
    """Loops on every row whose window starts with less than its value in positions."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def generate(self, encoded: Any, prompts: list[Any], **options: Any) -> list[Any]:
        states = np.array(encoded)
        self.batches.append(states.shape)
        loops = states[:, 0, 0] > states.shape[1]
        return [SimpleNamespace(sequences_ids=[[1] * (99 if loop else 3)]) for loop in loops]

    def align(self, encoded: Any, *prompts: Any, **options: Any) -> tuple[int, ...]:
        return np.array(encoded).shape


def guard() -> tuple[LoopGuard, FakeWhisper]:
    whisper = FakeWhisper()
    encoder = SimpleNamespace(
        encode=lambda f: np.ascontiguousarray(f[:, :1, ::2].transpose(0, 2, 1).repeat(4, 2))
    )
    tokenizer = SimpleNamespace(decode=lambda ids: "word " * len(ids))
    return LoopGuard(whisper, tokenizer, encoder, 1500, 448), whisper


def test_only_the_rows_that_loop_are_encoded_again() -> None:
    made, whisper = guard()
    windows = np.ones((3, 80, 3000), np.float32) * np.array([0, 700, 900])[:, None, None]
    encoded = made.encoded(windows.astype(np.float32), 400)
    results = made.generate(encoded, [[0], [0], [0]], beam_size=1)
    assert whisper.batches == [(3, 400, 4), (2, 800, 4), (1, 1500, 4)]
    assert [len(result.sequences_ids[0]) for result in results] == [3, 3, 3]


def test_what_was_not_fitted_is_decoded_once() -> None:
    made, whisper = guard()
    windows = np.full((1, 80, 3000), 9999, np.float32)
    whole = made.encoded(windows, 1500)
    made.generate(whole, [[0]])
    made.generate(ctranslate2.StorageView.from_array(np.ones((1, 9, 4), np.float32)), [[0]])
    assert whisper.batches == [(1, 1500, 4), (1, 9, 4)]
    assert made.align(whole, [0], [[1]], [3000]) == (1, 1500, 4)
    with pytest.raises(AttributeError):
        _ = made._nothing


def test_pairs_are_read_as_one_until_the_text_loops() -> None:
    made, whisper = guard()
    windows = np.ones((2, 80, 3000), np.float32) * np.array([0, 900])[:, None, None]
    encoded = made.encoded(windows.astype(np.float32), 1500, 2)
    results = made.generate(encoded, [[0], [0]])
    assert whisper.batches == [(2, 750, 4), (1, 1500, 4)]
    assert [len(result.sequences_ids[0]) for result in results] == [3, 3]


def test_a_shorter_context_grows_and_is_not_pooled_again() -> None:
    made, whisper = guard()
    made.generate(made.encoded(np.full((1, 80, 3000), 900, np.float32), 400, 2), [[0]])
    assert whisper.batches == [(1, 200, 4), (1, 800, 4), (1, 1500, 4)]


def test_times_of_words_need_every_position() -> None:
    made, _ = guard()
    encoded = made.encoded(np.ones((1, 80, 3000), np.float32), 400, 2)
    assert encoded.shape == [1, 200, 4]
    assert made.align(encoded, [0], [[1]], [800], median_filter_width=7) == (1, 400, 4)


def test_as_many_positions_as_mel_bins_would_be_taken_for_features() -> None:
    made, _ = guard()
    windows = np.ones((1, 80, 3000), np.float32)
    assert made.encoded(windows, 80).shape == [1, 81, 4]
    assert made.encoded(windows, 160, 2).shape == [1, 81, 4]


@pytest.mark.parametrize("positions", [159, 160])
def test_nor_do_pairs_of_a_pooled_encoder_look_like_features(positions: int) -> None:
    encoder = SimpleNamespace(encode=lambda x: np.ones((1, -(-x.shape[2] // 4), 4), np.float32))
    made = LoopGuard(FakeWhisper(), None, encoder, 1500, 448, encoder_pooling=2)
    assert made.encoded(np.ones((1, 80, 3000), np.float32), positions).shape == [1, 81, 4]


def test_the_decoder_reads_the_encoders_own_memory() -> None:
    states = np.ones((1, 1500, 4), np.float32)
    encoder = SimpleNamespace(encode=lambda _: states)
    made = LoopGuard(FakeWhisper(), None, encoder, 1500, 448)
    seen = np.asarray(made.encoded(np.ones((1, 80, 3000), np.float32), 1500))
    assert np.shares_memory(seen, states)


def test_a_window_is_not_encoded_twice_in_a_row() -> None:
    made, _ = guard()
    windows = np.ones((1, 80, 3000), np.float32)
    first = made.encoded(windows, 1500)
    assert made.encoded(windows.copy(), 1500) is first
    assert made.encoded(windows, 1500, 2) is not first
    assert made.encoded(windows, 700) is not first
    assert made.encoded(2 * windows, 700) is not first


def test_views_of_another_choice_share_the_model(tiny_speech: SpeechModel) -> None:
    transcriber, _ = hybrid(tiny_speech)
    view = transcriber.model.reading(context="off", pooling=1)
    assert (view.context, transcriber.model.context) == ("off", "auto")
    assert (view.pooling, transcriber.model.pooling) == (1, "auto")
    assert view.model is transcriber.model.model
    with pytest.raises(ValueError, match="context must be"):
        transcriber.model.reading(context=-1)
    with pytest.raises(ValueError, match="pooling must be"):
        transcriber.model.reading(pooling=0)


def test_silence_and_unknown_languages(
    tiny_speech: SpeechModel, caplog: pytest.LogCaptureFixture
) -> None:
    transcriber, shapes = hybrid(tiny_speech)
    assert transcriber.transcribe(np.zeros(16_000, np.float32)).text == ""
    assert "silent" in caplog.text
    assert shapes == []
    with pytest.raises(TranscriptionError, match="English-only"):
        transcriber.transcribe(np.ones(9, np.float32), replace(OPTIONS, language="de"))


def test_small_multilingual_vocabularies_are_refused(tiny_speech: SpeechModel) -> None:
    with pytest.raises(UnsupportedModelError, match="by a vocabulary of at least"):
        decoder_parts(tiny_speech)


@pytest.mark.parametrize("threads", [1, 2])
def test_decoders_work_on_as_many_threads_as_suit_the_processor(
    tiny_speech: SpeechModel, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    given: dict[str, Any] = {}
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        faster_whisper, "decoder_threads", lambda *sizes: asked.append(sizes) or threads
    )
    monkeypatch.setattr(
        faster_whisper, "HybridWhisperModel", lambda *_, **options: given.update(options)
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    hybrid(tiny_speech)
    assert asked == [(64, 2)]
    assert given["cpu_threads"] == threads


def test_pytorch_keeps_its_threads(
    tiny_speech: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CTranslate2 sets those of OpenMP, which PyTorch shares with it."""
    monkeypatch.setattr(faster_whisper, "decoder_threads", lambda *_: 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        hybrid(tiny_speech)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
