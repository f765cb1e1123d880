"""Laws of pivots: the product stays, and an identity takes the place of a square of it."""

import pytest
import torch

from liteasr.lowrank import pivoted


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (8, 9), (16, 64), (4, 16, 16), (3, 5, 9)])
def test_nothing_is_lost(shape: tuple[int, ...]) -> None:
    narrow, generator = shape[-2], torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    made = pivoted(weight)
    torch.testing.assert_close(made.basis @ made.weight, weight, rtol=1e-6, atol=1e-8)
    first = made.weight.gather(
        -1, made.place.argsort(dim=-1).unsqueeze(-2).expand_as(weight)[..., :narrow]
    )
    assert torch.equal(first, torch.eye(narrow, dtype=torch.float64).expand_as(first))


def test_places_are_a_permutation_with_the_rest_in_order() -> None:
    weight = torch.tensor([[0.0, 0.0, 5.0, 1.0], [3.0, 0.0, 0.0, 1.0]])
    made = pivoted(weight)
    assert sorted(made.place.tolist()) == [0, 1, 2, 3]
    assert sorted(made.place[[0, 2]].tolist()) == [0, 1]
    assert made.place[[1, 3]].tolist() == [2, 3]


def test_rows_may_depend_on_each_other() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]], dtype=torch.float64)
    made = pivoted(weight)
    torch.testing.assert_close(made.basis @ made.weight, weight)
    assert made.weight.isfinite().all()


def test_narrow_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="as many columns as rows or more, got 3 x 2"):
        pivoted(torch.ones(3, 2))
