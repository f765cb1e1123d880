from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import liteasr
from liteasr.errors import TranscriptionError
from liteasr.runtime import TranscriptionOptions, transcriber_for
from liteasr.sources import SpeechModel
from tiny_moonshine import tiny_moonshine

MakeWave = Callable[[int, float], np.ndarray]


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    return tiny_moonshine()


def test_tokens_are_those_that_transformers_generates(
    speech: SpeechModel, babble: MakeWave
) -> None:
    wave = babble(1, 3.0)
    inputs = speech.processor.feature_extractor(wave, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = speech.model.generate(inputs.input_values, max_length=None, max_new_tokens=12)
    options = TranscriptionOptions(max_new_tokens=12, language="en")
    found = transcriber_for(speech).transcribe(wave, options)
    end = speech.model.generation_config.eos_token_id
    tokens = [token for token in expected[0, 1:].tolist() if token != end]
    assert list(found.segments[0].tokens) == tokens
    assert (found.segments[0].start, found.segments[0].end) == (0.0, 3.0)
    assert found.language == "en"


def test_a_stretch_says_no_more_than_anyone_can(speech: SpeechModel, babble: MakeWave) -> None:
    short = transcriber_for(speech).transcribe(babble(1, 1.0))
    assert sum(len(segment.tokens) for segment in short.segments) <= 16
    beam = TranscriptionOptions(beam_size=2, max_new_tokens=4)
    assert len(transcriber_for(speech).transcribe(babble(1, 1.0), beam).segments[0].tokens) <= 4


def test_long_recordings_are_cut(speech: SpeechModel, babble: MakeWave) -> None:
    options = TranscriptionOptions(max_new_tokens=8)
    found = transcriber_for(speech).transcribe(babble(1, 65.0), options)
    assert found.segments[-1].end == pytest.approx(65.0)
    assert all(segment.end - segment.start <= 30.0 for segment in found.segments)


def test_silence_is_empty(speech: SpeechModel) -> None:
    found = transcriber_for(speech).transcribe(np.zeros(16_000, dtype=np.float32))
    assert (found.text, found.segments) == ("", ())


def test_what_an_option_asks_for_anyway_is_taken(speech: SpeechModel, babble: MakeWave) -> None:
    whole = TranscriptionOptions(context="off", max_new_tokens=4)  # nothing is fitted here
    found = transcriber_for(speech).transcribe(babble(1, 1.0), whole)
    assert found == transcriber_for(speech).transcribe(
        babble(1, 1.0), TranscriptionOptions(max_new_tokens=4)
    )


@pytest.mark.parametrize("changes", [{"task": "translate"}, {"word_timestamps": True}])
def test_whispers_options_are_refused(speech: SpeechModel, changes, babble: MakeWave) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TranscriptionError, match=next(iter(changes))):
        transcriber_for(speech).transcribe(babble(0, 1.0), TranscriptionOptions(**changes))


def test_checkpoints_transcribe_alike(recordings: Path, babble: MakeWave, tmp_path: Path) -> None:
    lite = liteasr.compress(tiny_moonshine(), audio=recordings, samples=2, keep=0.8)
    lite.save(tmp_path / "lite")
    wave = babble(5, 3.0)
    expected = transcriber_for(lite.speech).transcribe(wave)
    found = liteasr.load_transcriber(tmp_path / "lite").transcribe(wave)
    assert (found.text, found.segments) == (expected.text, expected.segments)
