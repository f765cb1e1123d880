"""Laws of the window loop, on a real transformers Whisper whose logits are scripted."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from liteasr.errors import TranscriptionError
from liteasr.runtime import TranscriptionOptions, transcriber_for
from liteasr.sources import SpeechModel
from liteasr.transcript import Transcript
from scripted_whisper import english_only, scripted

MakeWave = Callable[[int, float], np.ndarray]
OPTIONS = TranscriptionOptions(language="en", temperature=(0.0,), logprob_threshold=None,
                               no_speech_threshold=None, compression_ratio_threshold=None,
                               max_new_tokens=8)  # fmt: skip


@pytest.fixture(autouse=True)
def no_warnings_leak() -> Iterator[None]:
    """Fail on anything that transformers or torch would print."""
    records: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    handler = Collect(level=logging.WARNING)
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert records == []


def test_the_whole_of_a_long_recording_is_covered(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 12.0})
    transcript = transcriber_for(speech).transcribe(babble(0, 70.0), OPTIONS)
    assert transcript.duration_s == 70.0
    spans = [(segment.start, segment.end) for segment in transcript.segments]
    assert spans[:2] == [(0.0, 29.0), (29.0, 58.0)]  # the cut-off rest was decoded again
    assert spans[-1][1] == 70.0
    assert [segment.id for segment in transcript.segments] == list(range(len(spans)))
    assert transcript.text == "".join(segment.text for segment in transcript.segments).strip()


def test_the_plain_decode_is_one_segment_without_times(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 9.0})
    options = replace(OPTIONS, timestamps=False)
    (segment,) = transcriber_for(speech).transcribe(babble(0, 3.0), options).segments
    assert (segment.start, segment.end, segment.text) == (0.0, 3.0, "a" * 8)


def test_long_recordings_get_times_even_where_none_are_asked_for(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 10.0, "<|29.00|>": 12.0})
    options = replace(OPTIONS, timestamps=False)
    transcript = transcriber_for(speech).transcribe(babble(0, 40.0), options)
    assert transcript.segments[0].end == 29.0


def test_the_encoder_runs_once_for_each_window(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    """Neither retries nor the silence test nor detection may cost encoder time."""
    speech = scripted(tiny_speech, {"a": 4.0, "<|de|>": 2.0})
    calls = []
    hook = speech.model.get_encoder().layer_norm.register_forward_hook(lambda *_: calls.append(1))
    options = TranscriptionOptions(max_new_tokens=8, temperature=(0.0, 0.4, 1.0), context="off")
    transcriber_for(speech).transcribe(babble(0, 5.0), options)
    hook.remove()
    assert len(calls) == 1


def test_repetition_is_decoded_again_and_sampling_repeats(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 20.0, "b": 19.9, "c": 19.9, "d": 19.8, "e": 19.5})
    greedy = replace(OPTIONS, timestamps=False, max_new_tokens=None)
    strict = replace(greedy, temperature=(0.0, 1.0), compression_ratio_threshold=2.4)
    transcriber = transcriber_for(speech)
    assert set(transcriber.transcribe(babble(0, 2.0), greedy).text) == {"a"}
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    sampled = transcriber.transcribe(babble(0, 2.0), strict)
    assert torch.equal(before, torch.random.get_rng_state())  # the caller's state is untouched
    torch.manual_seed(2)
    assert set(sampled.text) == set("abcde")
    assert transcriber.transcribe(babble(0, 2.0), strict) == sampled
    assert transcriber.transcribe(babble(0, 2.0), replace(strict, seed=1)).text != sampled.text


def test_log_probability_is_free_of_the_temperature(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    speech = scripted(tiny_speech, {"a": 12.0, "b": 12.0})
    expected = float(np.log(np.exp(12) / (2 * np.exp(12) + len(speech.processor.tokenizer) - 2)))
    for temperature in (0.0, 0.5):
        options = replace(OPTIONS, timestamps=False, temperature=(temperature,))
        (segment,) = transcriber_for(speech).transcribe(babble(0, 2.0), options).segments
        assert segment.avg_logprob == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("beam_size", [2, 3])
def test_beams_agree_with_greedy_where_one_token_always_wins(
    tiny_speech: SpeechModel, babble: MakeWave, beam_size: int
) -> None:
    transcriber = transcriber_for(scripted(tiny_speech, {"a": 20.0}))
    wave = babble(0, 2.0)
    greedy = transcriber.transcribe(wave, OPTIONS)
    assert transcriber.transcribe(wave, replace(OPTIONS, beam_size=beam_size)).text == greedy.text


@pytest.mark.parametrize("logprob_threshold", [-1.0, None])
def test_a_window_without_speech_is_left_out(
    tiny_speech: SpeechModel, babble: MakeWave, logprob_threshold: float | None
) -> None:
    speech = scripted(tiny_speech, {"<|nospeech|>": 12.0, "a": 0.5})
    nospeech = speech.processor.tokenizer.convert_tokens_to_ids("<|nospeech|>")
    speech.model.generation_config.suppress_tokens = [nospeech]
    plain = replace(OPTIONS, timestamps=False)
    options = replace(plain, no_speech_threshold=0.6, logprob_threshold=logprob_threshold)
    assert transcriber_for(speech).transcribe(babble(0, 2.0), options).segments == ()
    heard = transcriber_for(speech).transcribe(babble(0, 2.0), plain)
    assert heard.text


def test_speech_keeps_its_silence_probability(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(tiny_speech, {"a": 20.0})
    options = replace(OPTIONS, no_speech_threshold=0.6)
    (segment,) = transcriber_for(speech).transcribe(babble(0, 2.0), options).segments
    assert segment.no_speech_prob is not None
    assert segment.no_speech_prob < 0.01


def test_the_language_is_detected(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(tiny_speech, {"<|de|>": 9.0, "a": 20.0})
    transcript = transcriber_for(speech).transcribe(babble(0, 2.0), replace(OPTIONS, language=None))
    assert transcript.language == "de"


@pytest.mark.parametrize("language", ["German", "de", " DE "])
def test_languages_have_names_and_codes(
    tiny_speech: SpeechModel, babble: MakeWave, language: str
) -> None:
    options = replace(OPTIONS, language=language)
    assert transcriber_for(tiny_speech).transcribe(babble(0, 1.0), options).language == "de"


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("germn", "tiny does not know the language 'germn': did you mean german"),
        ("xqz", "tiny does not know the language 'xqz': .*None to detect it"),
        ("fr", "tiny does not know the language 'fr'"),
    ],
)
def test_unknown_languages_are_refused(
    tiny_speech: SpeechModel, babble: MakeWave, language: str, message: str
) -> None:
    with pytest.raises(TranscriptionError, match=message):
        transcriber_for(tiny_speech).transcribe(
            babble(0, 1.0), TranscriptionOptions(language=language)
        )


def test_english_only_models_say_what_they_cannot_do(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    transcriber = transcriber_for(english_only(scripted(tiny_speech, {"a": 20.0})))
    wave = babble(0, 1.0)
    with pytest.raises(TranscriptionError, match=r"tiny is English-only .* 'de'"):
        transcriber.transcribe(wave, replace(OPTIONS, language="de"))
    with pytest.raises(TranscriptionError, match=r"tiny is English-only .* 'translate'"):
        transcriber.transcribe(wave, replace(OPTIONS, task="translate"))
    for language in (None, "english"):
        transcript = transcriber.transcribe(wave, replace(OPTIONS, language=language))
        assert transcript.language == "en"
        assert transcript.text


def test_silence_gives_no_text(tiny_speech: SpeechModel, caplog: pytest.LogCaptureFixture) -> None:
    wave = np.full(16_000, 5e-5, np.float32)
    transcript = transcriber_for(tiny_speech).transcribe(wave)
    assert transcript == Transcript(text="", language=None, duration_s=1.0, model="tiny")
    assert "silent" in caplog.text


def prompts_seen(speech: SpeechModel, wave: np.ndarray, options: TranscriptionOptions) -> list[str]:
    """Give the text that the decoder was shown before each window."""
    seen: list[str] = []

    def look(module: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        ids = kwargs["input_ids"][0].tolist()
        start = speech.model.generation_config.decoder_start_token_id
        if start in ids:
            before = [
                i for i in ids[: ids.index(start)] if i < speech.processor.tokenizer.eos_token_id
            ]
            seen.append(speech.processor.tokenizer.decode(before))

    hook = speech.model.model.decoder.register_forward_pre_hook(look, with_kwargs=True)
    transcriber_for(speech).transcribe(wave, options)
    hook.remove()
    return seen


@pytest.mark.parametrize(
    ("condition", "temperature", "expected"),
    [
        (False, 0.0, [" Zoë", "", ""]),
        (True, 0.0, [" Zoë", " Zoëa", " Zoëaa"]),
        (True, 1.0, [" Zoë", "", ""]),  # too hot to lead the next window
    ],
)
def test_earlier_text_is_shown_only_where_asked_for(
    tiny_speech: SpeechModel, babble: MakeWave, condition: bool, temperature: float,
    expected: list[str],
) -> None:  # fmt: skip
    speech = scripted(tiny_speech, {"a": 30.0, "<|29.00|>": 32.0})
    options = replace(OPTIONS, initial_prompt="Zoë", temperature=(temperature,),
                      condition_on_previous_text=condition, max_new_tokens=4)  # fmt: skip
    assert prompts_seen(speech, babble(0, 70.0), options) == expected


def test_long_prompts_keep_their_end(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(tiny_speech, {"a": 20.0})
    options = replace(OPTIONS, initial_prompt="x" * 99 + "end")
    (shown,) = prompts_seen(speech, babble(0, 1.0), options)
    assert len(shown) == speech.model.config.max_target_positions // 2 - 1
    assert shown.endswith("xend")


def test_special_tokens_in_a_prompt_are_refused(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    options = replace(OPTIONS, initial_prompt="a <|endoftext|> b")
    with pytest.raises(TranscriptionError, match=r"<\|endoftext\|>: remove it"):
        transcriber_for(tiny_speech).transcribe(babble(0, 1.0), options)


def test_words_have_times_and_attention_is_put_back(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    before = tiny_speech.model.config._attn_implementation
    options = replace(OPTIONS, word_timestamps=True)
    for segment in transcriber_for(tiny_speech).transcribe(babble(0, 3.0), options).segments:
        assert "".join(word.word for word in segment.words) == segment.text
        assert all(0.0 <= word.start <= word.end <= 3.0 for word in segment.words)
    assert tiny_speech.model.config._attn_implementation == before


def test_word_times_need_alignment_heads(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    tiny_speech.model.generation_config.alignment_heads = None
    with pytest.raises(TranscriptionError, match="tiny has no alignment_heads"):
        transcriber_for(tiny_speech).transcribe(
            babble(0, 1.0), replace(OPTIONS, word_timestamps=True)
        )


def test_a_window_that_ends_at_once_has_no_text(tiny_speech: SpeechModel, babble: MakeWave) -> None:
    speech = scripted(tiny_speech, {"<|endoftext|>": 20.0})
    options = replace(OPTIONS, word_timestamps=True)
    assert transcriber_for(speech).transcribe(babble(0, 1.0), options).text == ""


def test_files_are_read(tiny_speech: SpeechModel, recordings: Path) -> None:
    path = recordings / "clip-0.wav"
    transcriber = transcriber_for(tiny_speech)
    assert transcriber.transcribe(path, OPTIONS) == transcriber.transcribe(
        path.read_bytes(), OPTIONS
    )
