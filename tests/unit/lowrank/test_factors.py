import pytest
import torch
from torch import nn

from liteasr.lowrank import Moments, Spectrum, break_even_rank, factorize


def spectrum_of(layer: nn.Linear, inputs: torch.Tensor) -> Spectrum:
    return Spectrum.from_input_moments(Moments.of(inputs), layer.weight, layer.bias)


def apply(factors, inputs):  # type: ignore[no-untyped-def]
    return inputs @ factors.down.T @ factors.up.T + factors.bias


@pytest.mark.parametrize("bias", [True, False])
def test_full_rank_reproduces_the_layer(bias: bool) -> None:
    layer = nn.Linear(16, 12, bias=bias).double()
    inputs = torch.randn(200, 16, dtype=torch.float64)
    factors = factorize(layer.weight, layer.bias, spectrum_of(layer, inputs), 12)
    fresh = torch.randn(5, 16, dtype=torch.float64) * 10
    torch.testing.assert_close(apply(factors, fresh), layer(fresh), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rank", [1, 4, 8])
def test_recovers_layer_whose_output_has_that_rank(rank, bias, rank_deficient_linear) -> None:  # type: ignore[no-untyped-def]
    layer, inputs = rank_deficient_linear(rank, bias=bias)
    factors = factorize(layer.weight, layer.bias, spectrum_of(layer, inputs), rank)
    torch.testing.assert_close(apply(factors, inputs), layer(inputs), rtol=1e-4, atol=1e-5)


def test_one_rank_less_does_not_recover_it(rank_deficient_linear) -> None:  # type: ignore[no-untyped-def]
    layer, inputs = rank_deficient_linear(4)
    factors = factorize(layer.weight, layer.bias, spectrum_of(layer, inputs), 3)
    assert (apply(factors, inputs) - layer(inputs)).abs().max() > 1e-2


def test_error_is_the_tail_of_the_spectrum_and_falls_with_rank() -> None:
    layer = nn.Linear(20, 20).double()
    inputs = torch.randn(500, 20, dtype=torch.float64) @ torch.randn(20, 20).double()
    spectrum = spectrum_of(layer, inputs)
    errors = []
    for rank in range(1, 21):
        factors = factorize(layer.weight, layer.bias, spectrum, rank)
        error = (apply(factors, inputs) - layer(inputs)).square().sum(-1).mean()
        torch.testing.assert_close(error, spectrum.variances[rank:].sum(), rtol=1e-6, atol=1e-9)
        errors.append(error.item())
    assert errors == sorted(errors, reverse=True)


def test_no_affine_map_of_that_rank_does_better() -> None:
    layer = nn.Linear(10, 10).double()
    inputs = torch.randn(400, 10, dtype=torch.float64) @ torch.randn(10, 10).double() + 2
    outputs = layer(inputs)
    factors = factorize(layer.weight, layer.bias, spectrum_of(layer, inputs), 3)
    ours = (apply(factors, inputs) - outputs).square().mean()
    for _ in range(20):
        perturbed = factors.down + 1e-2 * torch.randn_like(factors.down)
        theirs = (inputs @ perturbed.T @ factors.up.T + factors.bias - outputs).square().mean()
        assert ours <= theirs + 1e-12


def test_the_mean_survives_any_rank() -> None:
    layer = nn.Linear(10, 10).double()
    inputs = torch.randn(400, 10, dtype=torch.float64) + 7
    factors = factorize(layer.weight, layer.bias, spectrum_of(layer, inputs), 1)
    torch.testing.assert_close(apply(factors, inputs).mean(0), layer(inputs).mean(0))


@pytest.mark.parametrize("rank", [0, -1, 13])
def test_impossible_ranks_are_refused_with_the_limit(rank: int) -> None:
    layer = nn.Linear(16, 12)
    with pytest.raises(ValueError, match=f"between 1 and 12, got {rank}"):
        factorize(layer.weight, layer.bias, spectrum_of(layer, torch.randn(90, 16)), rank)


def test_factors_keep_the_dtype_of_the_weights() -> None:
    layer = nn.Linear(16, 12).half()
    factors = factorize(layer.weight, layer.bias, spectrum_of(layer, torch.randn(90, 16)), 4)
    assert factors.down.dtype == factors.up.dtype == factors.bias.dtype == torch.float16


def test_break_even_ranks_of_large_v3_are_the_published_cut_offs() -> None:
    assert break_even_rank(1280, 1280) == 640
    assert break_even_rank(1280, 5120) == break_even_rank(5120, 1280) == 1024
