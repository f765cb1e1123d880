"""Errors weighed by direction: what is kept is the best in that metric."""

import pytest
import torch
from torch import Tensor, nn

from liteasr.lowrank import Factors, Gradients, Metric, Moments, Spectrum, factorize


@pytest.fixture
def gradients() -> Tensor:
    """Most of what reads an output of 12 looks at a few directions."""
    return torch.randn(500, 12).double() @ torch.randn(12, 12).double().tril()


@pytest.fixture
def layer() -> nn.Linear:
    return nn.Linear(12, 12).double()


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(400, 12).double() @ torch.randn(12, 12).double() + 1


def through(factors: Factors, x: Tensor) -> Tensor:
    return x @ factors.down.T @ factors.up.T + factors.bias


def test_root_and_inverse_are_those_of_one_matrix(gradients: Tensor) -> None:
    metric = Metric.of(Gradients.of(gradients))
    gram = gradients.T @ gradients / len(gradients)
    expected = 0.9 * gram / gram.diagonal().mean() + 0.1 * torch.eye(12).double()
    torch.testing.assert_close(metric.root @ metric.root, expected)
    torch.testing.assert_close(metric.root @ metric.inverse, torch.eye(12).double())


def test_a_scale_of_all_gradients_changes_nothing(gradients: Tensor) -> None:
    one, other = (Metric.of(Gradients.of(scale * gradients)) for scale in (1.0, 1e-4))
    torch.testing.assert_close(one.root, other.root)


@pytest.mark.parametrize("diagonal", [False, True])
def test_an_output_that_nothing_reads_has_the_plain_metric(diagonal: bool) -> None:
    metric = Metric.of(Gradients.of(torch.zeros(9, 4), diagonal=diagonal))
    vectors = torch.randn(4, 3).double()
    torch.testing.assert_close(metric.weigh(vectors), vectors)
    torch.testing.assert_close(metric.restore(vectors), vectors)


def test_a_diagonal_is_that_of_the_whole_where_gradients_are_independent() -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 4)
    gradients = signs * torch.tensor([4.0, 2.0, 1.0, 0.5])
    whole, part = (Metric.of(Gradients.of(gradients, diagonal=d)) for d in (False, True))
    vectors = torch.randn(2, 4, 3).double()
    torch.testing.assert_close(whole.weigh(vectors), part.weigh(vectors))
    torch.testing.assert_close(part.restore(part.weigh(vectors)), vectors)


@pytest.mark.parametrize("diagonal", [False, True])
def test_gradients_of_parts_add_up(gradients: Tensor, diagonal: bool) -> None:
    first, second = (Gradients.of(part, diagonal=diagonal) for part in gradients.split([123, 377]))
    whole = Gradients.of(gradients, diagonal=diagonal)
    assert (first + second).count == whole.count
    torch.testing.assert_close((first + second).products, whole.products)


@pytest.mark.parametrize("rank", [1, 3, 6, 11])
def test_energy_past_the_rank_is_the_weighed_error(layer, inputs, gradients, rank: int) -> None:  # type: ignore[no-untyped-def]
    metric, moments = Metric.of(Gradients.of(gradients)), Moments.of(inputs)
    spectrum = Spectrum.from_input_moments(moments, layer.weight, layer.bias, metric)
    error = layer(inputs) - through(factorize(layer.weight, layer.bias, spectrum, rank), inputs)
    weighed = metric.weigh(error.detach().T).square().sum(0).mean()
    torch.testing.assert_close(weighed, spectrum.variances[rank:].sum())


@pytest.mark.parametrize("rank", [1, 3, 6, 11])
def test_no_other_chain_of_that_rank_loses_less_of_what_is_read(  # type: ignore[no-untyped-def]
    layer, inputs, gradients, rank: int
) -> None:
    metric, moments = Metric.of(Gradients.of(gradients)), Moments.of(inputs)
    lost = []
    for chosen in (metric, None):
        spectrum = Spectrum.from_input_moments(moments, layer.weight, layer.bias, chosen)
        error = layer(inputs) - through(factorize(layer.weight, layer.bias, spectrum, rank), inputs)
        lost.append(float(metric.weigh(error.detach().T).square().sum()))
    assert lost[0] < lost[1]


def test_full_rank_reproduces_the_layer(layer, inputs, gradients) -> None:  # type: ignore[no-untyped-def]
    metric = Metric.of(Gradients.of(gradients))
    spectrum = Spectrum.from_input_moments(Moments.of(inputs), layer.weight, layer.bias, metric)
    factors = factorize(layer.weight, layer.bias, spectrum, 12)
    torch.testing.assert_close(through(factors, inputs), layer(inputs))


def test_both_kinds_of_moments_give_the_same_spectrum(layer, inputs, gradients) -> None:  # type: ignore[no-untyped-def]
    metric = Metric.of(Gradients.of(gradients))
    direct = Spectrum.from_output_moments(Moments.of(layer(inputs)), metric)
    other = Spectrum.from_input_moments(Moments.of(inputs), layer.weight, layer.bias, metric)
    torch.testing.assert_close(direct.variances, other.variances, rtol=1e-8, atol=1e-9)
    for rank in (1, 5):
        one, two = (s.components[:, :rank] @ s.readers[:, :rank].T for s in (direct, other))
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


def test_readers_undo_components(layer, inputs, gradients) -> None:  # type: ignore[no-untyped-def]
    metric = Metric.of(Gradients.of(gradients))
    cut = Spectrum.from_output_moments(Moments.of(layer(inputs)), metric).truncated(5)
    torch.testing.assert_close(cut.readers.T @ cut.components, torch.eye(5).double())
