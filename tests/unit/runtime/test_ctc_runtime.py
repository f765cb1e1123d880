from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import liteasr
from liteasr.errors import TranscriptionError
from liteasr.runtime import TranscriptionOptions, transcriber_for
from liteasr.runtime.emissions import collapsed, split_at_pauses, split_at_words
from liteasr.sources import SpeechModel
from tiny_ctc import letters_processor, tiny_wav2vec2

MakeWave = Callable[[int, float], np.ndarray]


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    return tiny_wav2vec2()


def scores_of(tokens: list[int]) -> torch.Tensor:
    return torch.eye(32)[tokens].mul(9).log_softmax(-1)


def test_repetitions_are_joined_and_blanks_part_them() -> None:
    found = collapsed(scores_of([0, 5, 5, 0, 5, 6]), blank=0, frame_s=0.02, start_s=1.0)
    assert [one.token for one in found] == [5, 5, 6]
    assert [round(one.start_s, 2) for one in found] == [1.02, 1.08, 1.1]
    assert [round(one.end_s, 2) for one in found] == [1.06, 1.1, 1.12]
    assert all(one.logprob < 0 for one in found)


def test_a_second_of_silence_ends_a_segment() -> None:
    tokens = [5] + [0] * 49 + [6] + [0] * 60 + [7]
    found = collapsed(scores_of(tokens), blank=0, frame_s=0.02, start_s=0.0)
    assert [[one.token for one in part] for part in split_at_pauses(found)] == [[5, 6], [7]]
    assert list(split_at_pauses([])) == []


def test_words_lie_between_delimiters() -> None:
    tokenizer = letters_processor().tokenizer
    tokens = tokenizer.convert_tokens_to_ids(list("HI|THERE|"))
    found = collapsed(scores_of(tokens), blank=0, frame_s=0.02, start_s=0.0)
    groups = [[one.token for one in group] for group in split_at_words(found, tokenizer)]
    assert [tokenizer.decode(group) for group in groups] == ["HI", "THERE"]


def test_the_text_is_what_transformers_decodes(speech: SpeechModel, babble: MakeWave) -> None:
    wave = babble(3, 4.0)
    inputs = speech.processor(wave, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        ids = speech.model(**inputs).logits.argmax(-1)
    expected = speech.processor.batch_decode(ids, skip_special_tokens=True)[0]
    found = transcriber_for(speech).transcribe(wave)
    assert " ".join(found.text.split()) == " ".join(expected.split())
    assert found.duration_s == 4.0
    assert found.segments[0].avg_logprob is not None


def test_words_make_up_the_text_and_follow_each_other(
    speech: SpeechModel, babble: MakeWave
) -> None:
    options = TranscriptionOptions(word_timestamps=True, language="en")
    found = transcriber_for(speech).transcribe(babble(3, 4.0), options)
    words = [word for segment in found.segments for word in segment.words]
    assert "".join(word.word for word in words).split() == found.text.split()
    assert all(a.end <= b.start for a, b in pairwise(words))
    assert found.language == "en"


def test_long_recordings_keep_their_times(speech: SpeechModel, babble: MakeWave) -> None:
    found = transcriber_for(speech).transcribe(babble(3, 65.0))
    starts = [segment.start for segment in found.segments]
    assert starts == sorted(starts)
    assert found.segments[-1].end > 60
    assert [segment.id for segment in found.segments] == list(range(len(starts)))


def test_silence_is_empty(speech: SpeechModel) -> None:
    found = transcriber_for(speech).transcribe(np.zeros(16_000, dtype=np.float32))
    assert (found.text, found.segments) == ("", ())


@pytest.mark.parametrize(
    "changes", [{"task": "translate"}, {"beam_size": 5}, {"initial_prompt": "names"}]
)
def test_whispers_options_are_refused(speech: SpeechModel, changes, babble: MakeWave) -> None:  # type: ignore[no-untyped-def]
    options = TranscriptionOptions(**changes)
    with pytest.raises(TranscriptionError, match=next(iter(changes))):
        transcriber_for(speech).transcribe(babble(0, 1.0), options)


def test_checkpoints_transcribe_alike(
    speech: SpeechModel, recordings: Path, babble: MakeWave, tmp_path: Path
) -> None:
    lite = liteasr.compress(tiny_wav2vec2(), audio=recordings, samples=2, keep=0.7)
    lite.save(tmp_path / "lite")
    wave = babble(5, 3.0)
    expected = transcriber_for(lite.speech).transcribe(wave)
    assert liteasr.load_transcriber(tmp_path / "lite").transcribe(wave).text == expected.text
