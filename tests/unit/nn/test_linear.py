import pytest
import torch
from torch import nn

from liteasr.lowrank import Moments, Spectrum, factorize
from liteasr.nn import LowRankLinear


def test_recovers_layer_whose_output_has_that_rank(rank_deficient_linear) -> None:  # type: ignore[no-untyped-def]
    layer, inputs = rank_deficient_linear(4)
    spectrum = Spectrum.from_output_moments(Moments.of(layer(inputs)))
    compressed = LowRankLinear.from_factors(factorize(layer.weight, layer.bias, spectrum, 4))
    torch.testing.assert_close(compressed(inputs), layer(inputs), rtol=1e-4, atol=1e-5)


def test_has_two_ordinary_linears_and_nothing_else() -> None:
    layer = LowRankLinear(8, 6, 2)
    assert set(dict(layer.named_parameters())) == {"down.weight", "up.weight", "up.bias"}
    assert all(isinstance(child, nn.Linear) for child in layer.children())


def test_state_dict_round_trip_and_conversion() -> None:
    layer = LowRankLinear(8, 6, 2)
    other = LowRankLinear(8, 6, 2)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(other(x), layer(x))
    assert layer.double()(x.double()).dtype == torch.float64


def test_merged_is_the_same_map() -> None:
    layer = LowRankLinear(8, 6, 2)
    x = torch.randn(3, 8)
    torch.testing.assert_close(layer.merged()(x), layer(x), rtol=1e-5, atol=1e-6)


def test_repr_names_the_sizes() -> None:
    assert "8 -> 2 -> 6" in repr(LowRankLinear(8, 6, 2))


def test_rank_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LowRankLinear(8, 6, 0)
