import pytest
import torch
from torch import nn

from liteasr.lowrank import Moments, Spectrum, factorize
from liteasr.nn import LowRankConv1d, affine_of, chain_of, empty_chain, sizes_of, to_vectors


def test_full_rank_is_the_convolution_itself() -> None:
    convolution, x = nn.Conv1d(12, 20, 1), torch.randn(2, 12, 50)
    y = convolution(x)
    spectrum = Spectrum.from_output_moments(Moments.of(to_vectors(convolution, y)))
    chain = chain_of(convolution, factorize(*affine_of(convolution), spectrum, 12))
    assert isinstance(chain, LowRankConv1d)
    torch.testing.assert_close(chain(x), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(chain.merged()(x), chain(x), rtol=1e-4, atol=1e-5)
    assert str(chain).startswith("LowRankConv1d(\n  12 -> 12 -> 20")


def test_empty_chains_have_the_sizes_of_the_layer() -> None:
    for layer in (nn.Conv1d(12, 20, 1), nn.Linear(12, 20)):
        chain = empty_chain(layer, 4, dtype=torch.float16)
        assert (*sizes_of(chain), chain.rank) == (*sizes_of(layer), 4)
        assert {parameter.dtype for parameter in chain.parameters()} == {torch.float16}


def test_rank_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        LowRankConv1d(nn.Conv1d(4, 4, 1), 0)
