"""What the decoder reads in place of every position."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from liteasr.errors import TranscriptionError
from liteasr.runtime import TranscriptionOptions, transcriber_for
from liteasr.runtime.pooling import pooled, pooling_of
from liteasr.sources import SpeechModel

MakeWave = Callable[[int, float], np.ndarray]


def test_neighbours_become_their_mean() -> None:
    states = np.arange(14, dtype=np.float32).reshape(1, 7, 2)
    assert pooled(states, 1) is states
    assert pooled(states, 2).tolist() == [[[1, 2], [5, 6], [9, 10]]]  # the seventh is left over
    assert pooled(states, 3).tolist() == [[[2, 3], [8, 9]]]
    assert pooled(states[:, :1], 2).tolist() == [[[0, 1]]]
    assert pooled(states, 2).dtype == np.float32
    assert pooled(states, 2).flags.c_contiguous


def test_attention_does_not_notice_where_neighbours_are_alike() -> None:
    """Softmax weighs every position by half when all are there twice."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(1, 5, 8, generator=generator)
    states = torch.randn(1, 20, 8, generator=generator).repeat_interleave(2, dim=1)
    fewer = torch.from_numpy(pooled(states.numpy(), 2))
    whole = functional.scaled_dot_product_attention(queries, states, states)
    torch.testing.assert_close(
        functional.scaled_dot_product_attention(queries, fewer, fewer), whole
    )


@pytest.mark.parametrize("pooling", [0, -2, True, 1.5, "off"])
def test_other_poolings_are_refused(pooling: Any) -> None:
    with pytest.raises(ValueError, match="pooling must be 'auto' or how many"):
        TranscriptionOptions(pooling=pooling)


def test_pairs_are_the_default() -> None:
    assert pooling_of("auto") == 2
    assert pooling_of(3) == 3
    assert TranscriptionOptions().pooling == "auto"


def test_only_ctranslate2_reads_pooled_positions(
    tiny_speech: SpeechModel, babble: MakeWave
) -> None:
    transcriber = transcriber_for(tiny_speech)
    wave, options = babble(0, 1.0), {"language": "en", "max_new_tokens": 3, "temperature": (0.0,)}
    with pytest.raises(TranscriptionError, match="pooling=2 is the runtime faster-whisper's"):
        transcriber.transcribe(wave, TranscriptionOptions(pooling=2, **options))
    assert transcriber.transcribe(wave, TranscriptionOptions(pooling=1, **options))
