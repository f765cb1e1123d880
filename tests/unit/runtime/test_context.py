"""Laws of context fitting: which positions are encoded, and what happens where the text loops."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from liteasr.runtime import Transcriber, TranscriptionOptions, transcriber_for
from liteasr.runtime.context import (
    ContextChoice,
    check_context,
    fitted_positions,
    is_loop,
    longer_context,
    margin_of,
)
from liteasr.sources import SpeechModel
from scripted_whisper import english_only, scripted

MakeWave = Callable[[int, float], np.ndarray]
OPTIONS = TranscriptionOptions(language="en", temperature=(0.0,), logprob_threshold=None,
                               no_speech_threshold=None, timestamps=False)  # fmt: skip


@pytest.mark.parametrize("frames", [0, 1, 99, 100, 1999, 2999, 3000])
@pytest.mark.parametrize("margin", [0, 1, 512, 1500, 5000])
def test_positions_cover_the_audio_and_never_exceed_the_window(frames: int, margin: int) -> None:
    positions = fitted_positions(frames, margin=margin, full=1500)
    assert 1 <= positions <= 1500
    assert positions >= min(1500, np.ceil(frames / 2) + margin)
    assert fitted_positions(frames, margin=None, full=1500) == 1500


def test_positions_are_those_of_the_duration_and_the_margin() -> None:
    assert fitted_positions(1001, margin=512, full=1500) == 501 + 512
    assert fitted_positions(0, margin=0, full=1500) == 1


@pytest.mark.parametrize("start", [1, 80, 762, 1499])
def test_longer_contexts_end_at_the_full_one(start: int) -> None:
    tried = [start]
    while tried[-1] < 1500:
        tried.append(longer_context(tried[-1], full=1500))
    assert tried[-1] == 1500
    assert len(tried) <= 12
    assert longer_context(1500, full=1500) == 1500


def test_a_loop_repeats_itself_or_fills_the_room() -> None:
    assert is_loop("and so on " * 40, tokens=100, room=224)
    assert is_loop("All of it is said once.", tokens=224, room=224)
    assert not is_loop("All of it is said once.", tokens=224, room=None)
    assert not is_loop("All of it is said once.", tokens=9, room=224)
    assert not is_loop("", tokens=0, room=224)


@pytest.mark.parametrize("context", [-1, 1.5, "full", True, None])
def test_other_contexts_are_refused(context: ContextChoice) -> None:
    with pytest.raises(ValueError, match=r"context must be 'auto', 'off' or positions"):
        check_context(context)
    with pytest.raises(ValueError, match="context must be"):
        TranscriptionOptions(context=context)


def test_the_safe_margin_is_the_default() -> None:
    assert TranscriptionOptions().context == "auto"
    assert margin_of("auto") == 512
    assert margin_of("off") is None
    assert margin_of(64) == 64


@contextmanager
def encodings(speech: SpeechModel) -> Iterator[list[int]]:
    """Collect the positions of every encoding."""
    lengths: list[int] = []
    norm = speech.model.get_encoder().layer_norm
    hook = norm.register_forward_hook(lambda _, __, out: lengths.append(out.shape[1]))
    yield lengths
    hook.remove()


def said(transcriber: Transcriber, wave: np.ndarray, options: TranscriptionOptions) -> str:
    return transcriber.transcribe(wave, options).text


def test_off_encodes_the_whole_window(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    transcriber = transcriber_for(scripted(tiny_speech, {"a": 20.0}))
    with encodings(tiny_speech) as lengths:
        off = said(transcriber, babble(0, 2.0), replace(OPTIONS, context="off"))
        whole = said(transcriber, babble(0, 2.0), replace(OPTIONS, context=1500))
    assert lengths == [1500, 1500]
    assert off == whole


def test_sound_text_is_encoded_once_as_long_as_it_needs(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"<|endoftext|>": 20.0})
    with encodings(speech) as lengths:
        for context in ("auto", 10):
            said(transcriber_for(speech), babble(0, 2.0), replace(OPTIONS, context=context))
    assert lengths == [100 + 512, 100 + 10]


def test_last_windows_are_fitted_and_others_are_full(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 12.0})
    options = replace(OPTIONS, context=64, max_new_tokens=8, timestamps=True)
    with encodings(speech) as lengths:
        transcriber_for(speech).transcribe(babble(0, 35.0), options)
    assert lengths == [1500, 300 + 64]


@pytest.mark.parametrize("logprob_threshold", [None, -1.0])
def test_failures_end_at_the_full_context_and_only_there_get_hot(
    tiny_speech: SpeechModel, babble: MakeWave, logprob_threshold: float | None
) -> None:
    logit = 20.0 if logprob_threshold is None else 4.0  # a loop, or text that is unlikely
    speech = scripted(tiny_speech, {"a": logit})
    options = replace(OPTIONS, context=64, logprob_threshold=logprob_threshold)
    options = replace(options, temperature=(0.0, 1.0), compression_ratio_threshold=None)
    if logprob_threshold is not None:
        options = replace(options, max_new_tokens=4)
    with encodings(speech) as lengths:
        fitted = said(transcriber_for(speech), babble(0, 2.0), options)
        full = said(transcriber_for(speech), babble(0, 2.0), replace(options, context="off"))
    assert lengths == [164, 328, 656, 1312, 1500, 1500]
    assert fitted == full


def test_a_silent_window_is_not_encoded_again(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(tiny_speech, {"<|nospeech|>": 12.0, "a": 0.5})
    nospeech = speech.processor.tokenizer.convert_tokens_to_ids("<|nospeech|>")
    speech.model.generation_config.suppress_tokens = [nospeech]
    options = replace(OPTIONS, no_speech_threshold=0.6, logprob_threshold=-1.0, max_new_tokens=8)
    with encodings(speech) as lengths:
        assert said(transcriber_for(english_only(speech)), babble(0, 2.0), options) == ""
    assert lengths == [612]
