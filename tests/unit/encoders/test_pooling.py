"""Encoders that halve their positions half-way."""

from collections.abc import Callable

import pytest
import torch

from liteasr.encoders import (
    WhisperAdapter,
    encode,
    encoder_fingerprint,
    output_pooling,
    pool_positions_,
    pooled_from,
    pooled_like,
    pooling_,
    require_poolable,
)
from liteasr.errors import PlanError, UnsupportedModelError
from liteasr.nn import pool_pairs
from liteasr.plan import Costs
from liteasr.sources import SpeechModel
from tiny_moonshine import tiny_moonshine
from tiny_towers import tiny_voxtral

FEATURES = 80


def test_pairs_become_their_mean_and_the_odd_one_stays() -> None:
    hidden = torch.arange(14.0).reshape(1, 7, 2)
    assert pool_pairs(hidden).tolist() == [[[1, 2], [5, 6], [9, 10], [12, 13]]]
    assert pool_pairs(hidden[:, :1]).tolist() == [[[0, 1]]]
    assert pooled_like(hidden, hidden[:, :4]).shape == (1, 4, 2)
    assert pooled_like(hidden, hidden) is hidden


@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize(("frames", "positions"), [(3000, 750), (202, 51), (2, 1)])
@torch.inference_mode()
def test_blocks_from_there_on_see_pairs(
    tiny_speech: SpeechModel, block: int, frames: int, positions: int
) -> None:
    adapter, encoder = WhisperAdapter(), tiny_speech.model.get_encoder()
    names = [name for name, _ in encoder.named_parameters()]
    features = {"input_features": torch.randn(2, FEATURES, frames)}
    hidden = adapter.embed(encoder, features)
    for number, layer in enumerate(encoder.layers):
        hidden = pool_pairs(hidden) if number == block else hidden
        found = layer(hidden, None)
        hidden = found[0] if isinstance(found, tuple) else found
    expected = encoder.layer_norm(hidden)
    pool_positions_(tiny_speech.model, block)
    torch.testing.assert_close(encode(encoder, features), expected)
    assert expected.shape[1] == positions
    assert (pooled_from(encoder), output_pooling(encoder)) == (block, 2)
    assert names == [name for name, _ in encoder.named_parameters()]
    if frames == 3000:  # transformers' own call takes full windows only
        torch.testing.assert_close(encoder(**features).last_hidden_state, expected)


def test_a_failure_leaves_the_encoder_as_it_was(tiny_speech: SpeechModel) -> None:
    encoder = tiny_speech.model.get_encoder()
    with pytest.raises(ZeroDivisionError), pooling_(tiny_speech.model, 1):
        1 / (pooled_from(encoder) - 1)  # type: ignore[operator]
    features = {"input_features": torch.randn(1, FEATURES, 40)}
    assert pooled_from(encoder) is None
    assert encode(encoder, features).shape[1] == 20
    with pooling_(tiny_speech.model, None):
        assert encode(encoder, features).shape[1] == 20
    with pooling_(tiny_speech.model, 1):
        pass
    assert encode(encoder, features).shape[1] == 10


def test_a_pooled_encoder_is_another_one(make_speech: Callable[..., SpeechModel]) -> None:
    whole, pooled = make_speech(), make_speech()
    pool_positions_(pooled.model, 1)
    assert encoder_fingerprint(whole.model) != encoder_fingerprint(pooled.model)
    assert encoder_fingerprint(whole.model, pool_from=1) == encoder_fingerprint(pooled.model)
    assert encoder_fingerprint(whole.model, pool_from=0) != encoder_fingerprint(pooled.model)


def test_flops_are_those_of_a_hand_count(make_speech: Callable[..., SpeechModel]) -> None:
    """Of the second of two blocks, layers cost half and products of pairs a quarter."""
    whole, pooled = make_speech(), make_speech()
    pool_positions_(pooled.model, 1)
    width, positions = 64, 1500
    layers = 4 * width**2 + 2 * width * 4 * width
    before = 2 * positions * layers + 4 * positions**2 * width
    after = 2 * (positions // 2) * layers + 4 * (positions // 2) ** 2 * width
    costs = [Costs(unit="flops", model=speech.model) for speech in (whole, pooled)]
    assert costs[0].dense - costs[1].dense == before - after
    assert costs[1].fixed == costs[0].fixed > 0  # the convolutions
    assert costs[1].whole == costs[0].whole == costs[0].dense  # what shares are of


def test_what_cannot_be_pooled_is_refused(tiny_speech: SpeechModel) -> None:
    for model in (tiny_moonshine().model, tiny_voxtral().model):
        with pytest.raises(UnsupportedModelError, match="pooled in Whisper's encoder alone"):
            require_poolable(model, 1)
    for block in (2, -1, True, 0.5):
        with pytest.raises(PlanError, match="pool_from must be a block from 0 to 1"):
            pool_positions_(tiny_speech.model, block)  # type: ignore[arg-type]
    pool_positions_(tiny_speech.model, 0)
    with pytest.raises(PlanError, match="pools from block 0 already"):
        pool_positions_(tiny_speech.model, 1)
