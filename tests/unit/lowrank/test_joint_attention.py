import pytest
import torch
from torch import Tensor

from liteasr.lowrank import (
    Affine,
    AttentionWeights,
    Moments,
    QueryKeySpectrum,
    ValueOutputSpectrum,
    reduce_query_key,
    reduce_value_output,
)

HEADS, DIM, WIDTH = 3, 4, 12


def random_attention(inner: int = DIM) -> AttentionWeights:
    """Heads of width 4; query, key, value and output have rank ``inner`` per head."""

    def layer() -> Affine:
        thin = torch.randn(HEADS, DIM, inner).double() @ torch.randn(HEADS, inner, WIDTH).double()
        return Affine(thin.reshape(-1, WIDTH), torch.randn(WIDTH).double())

    query, key, value = layer(), layer(), layer()
    output = torch.randn(WIDTH, HEADS * DIM).double()
    return AttentionWeights(
        heads=HEADS,
        query=query,
        key=key,
        value=value,
        output=Affine(output, torch.randn(WIDTH).double()),
    )


def heads_of(layer: Affine, x: Tensor) -> Tensor:
    y = x @ layer.weight.T + layer.bias
    return y.view(len(x), HEADS, -1).transpose(0, 1)


def probabilities(query: Affine, key: Affine, x: Tensor) -> Tensor:
    return (heads_of(query, x) @ heads_of(key, x).mT * DIM**-0.5).softmax(-1)


def attended(weights: AttentionWeights, value: Affine, x: Tensor) -> Tensor:
    shares = probabilities(weights.query, weights.key, x)
    return (shares @ heads_of(value, x)).transpose(0, 1).flatten(1)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(300, WIDTH).double() @ torch.randn(WIDTH, WIDTH).double() + 1.5


def test_full_rank_keeps_every_attention_weight(x: Tensor) -> None:
    weights = random_attention()
    query, key = reduce_query_key(weights, QueryKeySpectrum.of(weights, Moments.of(x)), DIM)
    expected = probabilities(weights.query, weights.key, x)
    torch.testing.assert_close(probabilities(query, key, x), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 2])
def test_heads_of_low_rank_are_found(x: Tensor, rank: int) -> None:
    """A query bias outside the low-rank part still meets keys that vary in `rank` ways only."""
    weights = random_attention(inner=rank)
    query, key = reduce_query_key(weights, QueryKeySpectrum.of(weights, Moments.of(x)), rank)
    assert query.weight.shape == key.weight.shape == (HEADS * rank, WIDTH)
    expected = probabilities(weights.query, weights.key, x)
    torch.testing.assert_close(probabilities(query, key, x), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_energies_are_the_mean_square_of_the_scores(x: Tensor, rank: int) -> None:
    """Over all pairs of a query and a key, with the keys centred."""
    weights = random_attention()
    spectrum = QueryKeySpectrum.of(weights, Moments.of(x))
    query, key = reduce_query_key(weights, spectrum, rank)
    keys = heads_of(weights.key, x)
    scores = heads_of(weights.query, x) @ (keys - keys.mean(1, keepdim=True)).mT
    lost = (scores - heads_of(query, x) @ heads_of(key, x).mT).square().mean((1, 2))
    torch.testing.assert_close(lost, spectrum.energies[:, rank:].sum(1), rtol=1e-6, atol=1e-8)


def test_full_rank_keeps_the_output(x: Tensor) -> None:
    weights = random_attention()
    before = attended(weights, weights.value, x)
    spectrum = ValueOutputSpectrum.of(weights, Moments.of(before))
    value, output = reduce_value_output(weights, spectrum, DIM)
    expected = before @ weights.output.weight.T + weights.output.bias
    after = attended(weights, value, x) @ output.weight.T + output.bias
    torch.testing.assert_close(after, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_values_lose_the_tail_when_heads_are_independent(rank: int) -> None:
    weights = random_attention()
    u = torch.randn(4000, HEADS * DIM).double()
    u = (u - u.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(u.T.cov(correction=0))).mT
    u = u * torch.arange(1, HEADS * DIM + 1) + 3.0  # uncorrelated, with a mean
    spectrum = ValueOutputSpectrum.of(weights, Moments.of(u))
    _, output = reduce_value_output(weights, spectrum, rank)
    narrow = (spectrum.value_maps[:, :rank] @ u.T.view(HEADS, DIM, -1)).flatten(0, 1).T
    lost = (u @ weights.output.weight.T + weights.output.bias) - (
        narrow @ output.weight.T + output.bias
    )
    torch.testing.assert_close(lost.mean(0), torch.zeros(WIDTH).double(), atol=1e-8, rtol=0)
    tail = spectrum.energies[:, rank:].sum()
    torch.testing.assert_close(lost.square().sum(1).mean(), tail, rtol=1e-6, atol=1e-9)


def test_directions_never_seen_do_no_harm() -> None:
    weights = random_attention()
    x = torch.randn(50, 2).double() @ torch.randn(2, WIDTH).double()  # two directions of twelve
    query, key = reduce_query_key(weights, QueryKeySpectrum.of(weights, Moments.of(x)), DIM)
    assert torch.isfinite(query.weight).all()
    expected = probabilities(weights.query, weights.key, x)
    torch.testing.assert_close(probabilities(query, key, x), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rank", [0, 5])
def test_impossible_widths_are_refused(x: Tensor, rank: int) -> None:
    weights = random_attention()
    spectrum = QueryKeySpectrum.of(weights, Moments.of(x))
    with pytest.raises(ValueError, match=f"between 1 and 4, got {rank}"):
        reduce_query_key(weights, spectrum, rank)
