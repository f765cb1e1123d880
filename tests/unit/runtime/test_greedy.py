"""Our greedy decoder says what CTranslate2 says, with the same scores."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from liteasr.export.ctranslate2 import write_decoder
from liteasr.export.greedy import write_greedy_decoder
from liteasr.runtime.decoder_parts import SpecialTokens
from liteasr.runtime.greedy import GreedyDecoder
from liteasr.sources import SpeechModel
from scripted_whisper import english_only
from tiny_whisper import tiny_whisper

GREEDY = {"beam_size": 1, "return_scores": True, "return_no_speech_prob": True, "max_length": 64}


class Pair:
    """The same float32 decoder, theirs and ours."""

    def __init__(self, speech: SpeechModel, folder: Path) -> None:
        write_decoder(speech, folder / "theirs")
        write_greedy_decoder(speech, folder / "ours", precision="float32")
        self.theirs = ctranslate2.models.Whisper(str(folder / "theirs"), compute_type="float32")
        tokens = SpecialTokens.of(speech.model.generation_config)
        self.ours = GreedyDecoder(folder / "ours", tokens, threads=1)
        self.id = speech.processor.tokenizer.convert_tokens_to_ids
        self.width = speech.model.config.d_model

    def states(self, batch: int, seed: int = 0) -> np.ndarray:
        drawn = np.random.default_rng(seed).normal(size=(batch, 33, self.width))
        return 3 * drawn.astype(np.float32)

    def prompt(self, *, times: bool, previous: tuple[int, ...] = ()) -> list[int]:
        before = [self.id("<|startofprev|>"), *previous] if previous else []
        task = [self.id("<|startoftranscript|>")] + ([] if times else [self.id("<|notimestamps|>")])
        return [*before, *task]

    def both(self, states: np.ndarray, prompts: list[list[int]], **options: Any) -> list[Any]:
        options = {**GREEDY, **options}
        assert self.ours.takes(prompts, options)
        view = ctranslate2.StorageView.from_array(states)
        return [
            self.theirs.generate(view, prompts, **options),
            self.ours.generate(states, prompts, **options),
        ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    speech = english_only(tiny_whisper(seed=3))
    speech.model.generation_config.suppress_tokens = [5, 6, 7]
    speech.model.generation_config.begin_suppress_tokens = [8, speech.model.config.eos_token_id]
    return Pair(speech, tmp_path_factory.mktemp("decoders"))


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("previous", [(), (20, 30, 40)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_length": 21},
        {"length_penalty": 0.5},
        {"suppress_tokens": [-1, 60, 61], "suppress_blank": False},
        {"suppress_tokens": []},
        {"max_initial_timestamp_index": 3},
    ],
)
def test_it_says_what_ctranslate2_says(
    pair: Pair, times: bool, previous: tuple[int, ...], options: dict[str, Any]
) -> None:
    prompts = [pair.prompt(times=times, previous=previous)] * 4
    said = set()
    for seed in range(3):
        for theirs, ours in zip(*pair.both(pair.states(4, seed), prompts, **options), strict=True):
            assert ours.sequences_ids == theirs.sequences_ids
            assert ours.scores == pytest.approx(theirs.scores, abs=1e-4)
            assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, rel=1e-3)
            said.add(len(ours.sequences_ids[0]))
    assert max(said) > 3


def test_windows_of_a_batch_end_when_they_end(tmp_path: Path) -> None:
    """With a loud end token, at different lengths."""
    speech = english_only(tiny_whisper(seed=6))
    speech.model.model.decoder.embed_tokens.weight.data[speech.model.config.eos_token_id] *= 6
    pair = Pair(speech, tmp_path)
    theirs, ours = pair.both(pair.states(12), [pair.prompt(times=False)] * 12)
    lengths = {len(result.sequences_ids[0]) for result in theirs}
    assert len(lengths) > 3, lengths
    assert [result.sequences_ids for result in ours] == [r.sequences_ids for r in theirs]


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 2},
        {"beam_size": None},
        {"sampling_topk": 0},
        {"num_hypotheses": 2},
        {"repetition_penalty": 1.1},
        {"no_repeat_ngram_size": 3},
        {"asynchronous": True},
    ],
)
def test_it_leaves_the_rest_to_ctranslate2(pair: Pair, options: dict[str, Any]) -> None:
    asked = {name: value for name, value in {**GREEDY, **options}.items() if value is not None}
    assert not pair.ours.takes([pair.prompt(times=True)], asked)


def test_it_leaves_prompts_that_say_something_to_ctranslate2(pair: Pair) -> None:
    begun = [*pair.prompt(times=False), 30]
    uneven = [pair.prompt(times=True), pair.prompt(times=False)]
    assert not pair.ours.takes([begun], GREEDY)
    assert not pair.ours.takes(uneven, GREEDY)
    assert not pair.ours.takes([[30]], GREEDY)
