"""The hybrid on OpenAI's weights, beside faster-whisper itself."""

from pathlib import Path

import faster_whisper
import numpy as np
import pytest

from liteasr.audio import load_audio
from liteasr.runtime import TranscriptionOptions
from liteasr.runtime.decoder_choice import decoder_parts
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources import SpeechModel, fetch, load_dense

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tiny() -> SpeechModel:
    return load_dense("whisper-tiny.en")


@pytest.fixture(scope="module")
def transcriber(tiny: SpeechModel) -> FasterWhisperTranscriber:
    return FasterWhisperTranscriber(decoder_parts(tiny, "float32"), TorchEncoder(tiny))


@pytest.fixture(scope="module")
def theirs() -> faster_whisper.WhisperModel:
    return faster_whisper.WhisperModel(
        str(fetch("whisper-tiny.en")), device="cpu", compute_type="float32"
    )


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return load_audio(fetch("audioeval") / "en" / "quick_brown_fox.wav")


def test_the_same_features_give_the_same_segments(
    transcriber: FasterWhisperTranscriber, theirs: faster_whisper.WhisperModel, clip: np.ndarray
) -> None:
    """Audio padded by hand, so that faster-whisper has the silence of training too."""
    padded = np.pad(clip, (0, 480_000 - len(clip)))
    options = {"beam_size": 2, "word_timestamps": True, "condition_on_previous_text": False}
    found = [
        list(model.transcribe(padded, **options)[0])
        for model in (transcriber.model.reading(context="off", pooling=1), theirs)
    ]
    assert [s.tokens for s in found[0]] == [s.tokens for s in found[1]]
    for mine, other in zip(*found, strict=True):
        assert mine.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-3)
        assert [w.word for w in mine.words] == [w.word for w in other.words]
        assert [w.start for w in mine.words] == pytest.approx([w.start for w in other.words])


def test_the_safe_context_changes_no_word(
    transcriber: FasterWhisperTranscriber, clip: np.ndarray
) -> None:
    texts = {
        transcriber.transcribe(clip, TranscriptionOptions(context=context)).text.lower()
        for context in ("off", "auto")
    }
    assert texts == {"the quick brown fox jumps over the lazy dog."}


def test_voice_activity_and_batches_work(transcriber: FasterWhisperTranscriber) -> None:
    reading: Path = fetch("two-cities") / "two_cities.wav"
    pipeline = faster_whisper.BatchedInferencePipeline(transcriber.model)
    segments, info = pipeline.transcribe(str(reading), batch_size=4, word_timestamps=True)
    heard = list(segments)
    text = " ".join(segment.text for segment in heard).lower()
    assert info.duration > 30
    for phrase in ("best of times", "season of light", "winter of despair"):
        assert phrase in text
    assert heard[-1].words[-1].end <= info.duration


def test_the_language_is_detected_on_the_window_that_is_transcribed() -> None:
    """faster-whisper encodes a short clip twice where no language is named."""
    base = load_dense("whisper-base")
    shapes = []
    encoder = TorchEncoder(base)

    class Counting:
        name = "counting"

        def encode(self, features: np.ndarray) -> np.ndarray:
            shapes.append(features.shape)
            return encoder.encode(features)

    transcriber = FasterWhisperTranscriber(decoder_parts(base, "float32"), Counting())
    clip = load_audio(fetch("audioeval") / "fr" / "pangrama.wav")
    transcript = transcriber.transcribe(clip)
    assert transcript.language == "fr"
    assert transcript.text
    assert len(shapes) == 1
