"""The runtime on OpenAI's weights."""

from pathlib import Path

import pytest

from liteasr.audio import load_audio
from liteasr.errors import TranscriptionError
from liteasr.evaluation import score_utterance
from liteasr.runtime import Transcriber, TranscriptionOptions, transcriber_for
from liteasr.sources import SpeechModel, fetch, load_dense

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def base() -> SpeechModel:
    return load_dense("whisper-base")


@pytest.fixture(scope="module")
def transcriber(base: SpeechModel) -> Transcriber:
    return transcriber_for(base)


@pytest.fixture(scope="module")
def clips() -> Path:
    return fetch("audioeval")


@pytest.fixture(scope="module")
def reading() -> Path:
    return fetch("two-cities") / "two_cities.wav"


def test_a_sentence_is_heard_with_its_language(transcriber: Transcriber, clips: Path) -> None:
    for name, language in (("en/quick_brown_fox", "en"), ("fr/pangrama", "fr")):
        transcript = transcriber.transcribe(clips / f"{name}.wav")
        reference = (clips / f"{name}.txt").read_text(encoding="utf-8")
        assert transcript.language == language
        assert score_utterance(reference, transcript.text, language).rate <= 0.3


def test_the_plain_decode_is_that_of_transformers(
    base: SpeechModel, transcriber: Transcriber, clips: Path
) -> None:
    waveform = load_audio(clips / "en" / "quick_brown_fox.wav")
    features = base.processor(waveform, sampling_rate=16_000, return_tensors="pt").input_features
    config = base.model.generation_config
    ids = base.model.generate(features, language="en", task="transcribe")[0]
    theirs = [token for token in ids.tolist() if token < config.eos_token_id]
    options = TranscriptionOptions(language="en", temperature=(0.0,), timestamps=False)
    (segment,) = transcriber.transcribe(waveform, options).segments
    assert list(segment.tokens) == theirs


def test_a_long_recording_is_covered_to_its_end(transcriber: Transcriber, reading: Path) -> None:
    transcript = transcriber.transcribe(reading, TranscriptionOptions(word_timestamps=True))
    assert transcript.duration_s > 30
    assert transcript.segments[-1].end > transcript.duration_s - 5
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    for phrase in ("best of times", "season of light", "winter of despair"):
        assert phrase in transcript.text.lower()
    words = [word for segment in transcript.segments for word in segment.words]
    assert [word.start for word in words] == sorted(word.start for word in words)


def test_the_english_only_model_refuses_german(clips: Path) -> None:
    transcriber = transcriber_for(load_dense("whisper-tiny.en"))
    clip = clips / "en" / "counting.wav"
    with pytest.raises(TranscriptionError, match="English-only"):
        transcriber.transcribe(clip, TranscriptionOptions(language="de"))
    assert transcriber.transcribe(clip).language == "en"
