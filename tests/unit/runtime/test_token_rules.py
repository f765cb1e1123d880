"""What may be said next is what transformers lets be said next."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig
from transformers.generation import WhisperTimeStampLogitsProcessor

from liteasr.runtime.token_rules import TokenRules

END, NO_TIMES, SIZE = 10, 14, 30


def sayings(rng: np.random.Generator) -> list[int]:
    """What a decoder may have said: a time, text, often a time, and then the next segment's."""
    said: list[int] = []
    time = NO_TIMES + 1
    for _ in range(rng.integers(4)):
        time = int(rng.integers(time, SIZE))
        said += [time, *rng.integers(END, size=rng.integers(1, 4)).tolist()]
        if rng.random() < 0.7:
            time = int(rng.integers(time, SIZE))
            said.append(time)
    return said[: rng.integers(len(said) + 1)]


@pytest.mark.parametrize("seed", range(200))
def test_timestamps_follow_transformers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = sayings(rng)
    config = GenerationConfig(
        eos_token_id=END,
        bos_token_id=END,
        no_timestamps_token_id=NO_TIMES,
        max_initial_timestamp_index=5,
    )
    theirs = WhisperTimeStampLogitsProcessor(config, begin_index=1)
    logits = rng.normal(size=SIZE).astype(np.float32)
    logits[NO_TIMES + 1 :] += rng.uniform(-3, 6)
    expected = theirs(torch.tensor([[11, *said]]), torch.from_numpy(logits)[None])[0].numpy()
    rules = TokenRules(end=END, no_timestamps=NO_TIMES, timestamps=True, latest_first=5)
    rules.apply_(logits, said)
    assert np.array_equal(np.isinf(logits), np.isinf(expected))
    assert logits.argmax() == expected.argmax()


def test_suppressed_tokens_are_not_said() -> None:
    rules = TokenRules(end=END, no_timestamps=NO_TIMES, suppressed=[1], suppressed_first=[2, END])
    for said, silent in (([], {1, 2, END}), ([3], {1})):
        logits = np.zeros(SIZE, np.float32)
        rules.apply_(logits, said)
        assert set(np.flatnonzero(np.isinf(logits))) == silent


@pytest.mark.parametrize("said", [[], [NO_TIMES + 2], [NO_TIMES + 2, 1, NO_TIMES + 3]])
def test_without_timestamps_nothing_else_is_forbidden(said: list[int]) -> None:
    logits = np.zeros(SIZE, np.float32)
    TokenRules(end=END, no_timestamps=NO_TIMES).apply_(logits, said)
    assert not np.isinf(logits).any()
