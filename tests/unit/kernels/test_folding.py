"""Folded attention is the attention of the chains that it was folded from."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from kernel_device import DEVICE
from liteasr.kernels import Backend, fold_query_key, fold_value, low_rank_attention

HEADS, WIDTH = 3, 10
BACKENDS: tuple[Backend, ...] = ("eager", "sdpa", "triton")


class Chain(NamedTuple):
    """y = up first + bias."""

    first: Tensor
    up: Tensor
    bias: Tensor

    def by_head(self) -> Tensor:
        whole = self.first @ self.up.mT + self.bias
        return whole.view(*whole.shape[:2], HEADS, WIDTH).transpose(1, 2)


def chain(rank: int, length: int, dtype: torch.dtype = torch.float32) -> Chain:
    sizes = ((2, length, rank), (HEADS * WIDTH, rank), (HEADS * WIDTH,))
    return Chain(*(torch.randn(size, dtype=dtype, device=DEVICE) * 0.4 for size in sizes))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "ranks", [(8, 8, 8), (32, 16, 48), (20, 48, 24), (80, 40, 112), (3, 96, 128)]
)
def test_both_halves_folded(ranks: tuple[int, int, int], backend: Backend) -> None:
    query, key, value = (
        chain(rank, length) for rank, length in zip(ranks, (21, 35, 35), strict=True)
    )
    expected = low_rank_attention(
        query.by_head(), key.by_head(), value.by_head(), scaling=0.3, backend="eager"
    )
    found = low_rank_attention(
        query.first, key.first, value.first, scaling=0.3, backend=backend,
        query_fold=fold_query_key(query.up, query.bias, key.up, heads=HEADS),
        value_fold=fold_value(value.up, value.bias, heads=HEADS),
    )  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_half_folded(backend: Backend) -> None:
    query, key, value = (chain(rank, 19) for rank in (12, 18, 26))
    expected = low_rank_attention(
        query.by_head(), key.by_head(), value.by_head(), scaling=0.3, backend="eager"
    )
    scores_only = low_rank_attention(
        query.first, key.first, value.by_head(), scaling=0.3, backend=backend,
        query_fold=fold_query_key(query.up, query.bias, key.up, heads=HEADS),
    )  # fmt: skip
    values_only = low_rank_attention(
        query.by_head(), key.by_head(), value.first, scaling=0.3, backend=backend,
        value_fold=fold_value(value.up, value.bias, heads=HEADS),
    )  # fmt: skip
    torch.testing.assert_close(scores_only, expected, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(values_only, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_folded_in_half_precision(dtype: torch.dtype) -> None:
    query, key, value = (chain(rank, 40, dtype) for rank in (24, 16, 48))
    made = [
        low_rank_attention(
            query.first, key.first, value.first, scaling=0.3, backend=backend,
            query_fold=fold_query_key(query.up, query.bias, key.up, heads=HEADS),
            value_fold=fold_value(value.up, value.bias, heads=HEADS),
        )
        for backend in BACKENDS
    ]  # fmt: skip
    limit = {torch.float16: 3e-3, torch.bfloat16: 2e-2}[dtype] * made[0].abs().max()
    for found in made[1:]:
        assert found.dtype == dtype
        assert (found - made[0]).abs().max() <= limit


def test_a_masked_query_gets_the_bias_of_the_values() -> None:
    query, key, value = (chain(8, 5) for _ in range(3))
    fold = fold_value(value.up, value.bias, heads=HEADS)
    for backend in BACKENDS:
        found = low_rank_attention(
            query.by_head(), key.by_head(), value.first, scaling=1.0, value_fold=fold,
            mask=torch.zeros(5, 5, dtype=torch.bool, device=DEVICE), backend=backend,
        )  # fmt: skip
        torch.testing.assert_close(found, fold.bias.unsqueeze(1).expand_as(found))


def test_widths_must_fit_the_folds() -> None:
    query, key, value = (chain(rank, 4) for rank in (5, 6, 7))
    fold = fold_query_key(query.up, query.bias, key.up, heads=HEADS)
    with pytest.raises(ValueError, match=r"must be \(5, 6\), got 6 and 5"):
        low_rank_attention(key.first, query.first, value.first, scaling=1.0, query_fold=fold)
    with pytest.raises(ValueError, match="value must be 7 wide for its fold, got 6"):
        low_rank_attention(
            query.first, key.first, key.first, scaling=1.0, query_fold=fold,
            value_fold=fold_value(value.up, value.bias, heads=HEADS),
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"agree on the heads, got \{\}"):
        low_rank_attention(query.first, query.first, value.first, scaling=1.0)
