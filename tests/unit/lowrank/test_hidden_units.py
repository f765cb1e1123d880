"""Laws of hidden units: what others can say may go for nothing, and a fit is judged elsewhere."""

import pytest
import torch
from torch import Tensor

from liteasr.lowrank import Affine, Elimination, Halves, HiddenUnits, Moments, eliminate
from liteasr.lowrank.hidden_units import _damped, reduce_units

OUT, WIDTH = 24, 128


def hidden(units: int, seed: int = 0, frames: int = 1500) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, 24, generator=generator)
    maps = torch.randn(24, units, generator=torch.Generator().manual_seed(99))
    return torch.relu(x @ maps + 0.3)


def weights(units: int = WIDTH) -> Tensor:
    return torch.randn(OUT, units, generator=torch.Generator().manual_seed(7))


def halves_of(first: Tensor, second: Tensor) -> Halves:
    return Moments.of(first), Moments.of(second)


def layers(units: int = WIDTH) -> tuple[Affine, Affine]:
    generator = torch.Generator().manual_seed(3)
    first = Affine(
        torch.randn(units, 24, generator=generator), torch.randn(units, generator=generator)
    )
    return first, Affine(weights(units), torch.randn(OUT, generator=generator))


def test_copies_of_units_may_go_for_nothing() -> None:
    """Half of the units repeat the others in another scale and place."""
    shuffled = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(1))

    def doubled(seed: int) -> Tensor:
        once = hidden(WIDTH // 2, seed)
        return torch.cat([once, 2 * once - 1], dim=1)[:, shuffled]

    first, second = doubled(0), doubled(1)
    found = eliminate(weights(), *halves_of(first, second), ridge=1e-9)
    assert found.losses[64] < 1e-9 * found.losses[0]
    units = HiddenUnits(elimination=found, halves=halves_of(first, second))
    before, after = layers()[1], reduce_units(*layers(), units, 64)[1]
    kept = torch.tensor(sorted(found.order[-64:]))
    assert set((shuffled[kept] % 64).tolist()) == set(range(64)), "one of each pair stays"
    y = doubled(2) @ before.weight.T + before.bias
    fitted = doubled(2)[:, kept] @ after.weight.T + after.bias
    torch.testing.assert_close(fitted, y, rtol=1e-4, atol=1e-3)


def test_sums_of_other_units_may_go_too() -> None:
    mixing = torch.randn(96, 32, generator=torch.Generator().manual_seed(5))

    def dependent(seed: int) -> Tensor:
        once = hidden(96, seed)
        return torch.cat([once, once @ mixing / 10], dim=1)

    found = eliminate(weights(), *halves_of(dependent(0), dependent(1)), ridge=1e-9)
    assert found.losses[64] > 1e-4 * found.losses[0]
    order = eliminate(weights(), *halves_of(dependent(0), dependent(0)), ridge=1e-9).order
    left = dependent(0)[:, list(order[-96:])].double()
    assert torch.linalg.matrix_rank(left - left.mean(0)) == 96


def test_updated_weights_are_those_of_a_direct_solve() -> None:
    fitted, unseen = halves_of(hidden(WIDTH, 0), hidden(WIDTH, 1))
    found = eliminate(weights(), fitted, unseen, ridge=1e-3)
    kept = torch.tensor(found.order[-64:])
    damped, whole = _damped(fitted.covariance, 1e-3), weights().double()
    missed = whole.clone()
    missed[:, kept] -= torch.linalg.solve(damped[kept][:, kept], damped[kept] @ whole.T).T
    expected = float(((missed @ unseen.covariance) * missed).sum())
    assert found.losses[64] == pytest.approx(expected, rel=1e-9)


def test_losses_are_counted_where_nothing_was_fitted() -> None:
    """E‖Δy‖² over stored vectors of the other half, with the mean in the bias."""
    first, second = hidden(WIDTH, 0, frames=150), hidden(WIDTH, 1, frames=150)
    found = eliminate(weights(), *halves_of(first, second), ridge=1e-3)
    own = eliminate(weights(), *halves_of(first, first), ridge=1e-3)
    only_first = HiddenUnits(elimination=found, halves=(Moments.of(first), Moments.empty(WIDTH)))
    before, after = layers()[1], reduce_units(*layers(), only_first, 64)[1]
    kept = torch.tensor(sorted(found.order[-64:]))
    moved = second @ before.weight.T + before.bias - second[:, kept] @ after.weight.T - after.bias
    moved = moved - moved.mean(0)
    assert found.losses[64] == pytest.approx(float(moved.square().sum(1).mean()), rel=1e-3)
    assert own.order == found.order
    assert own.losses[64] < 0.8 * found.losses[64], "a fit flatters itself on its own audio"


def test_fewer_units_lose_more_and_none_lose_all() -> None:
    halves = halves_of(hidden(256, 0), hidden(256, 1))
    found = HiddenUnits.of(weights(256), halves).elimination
    assert list(found.losses) == [192, 128, 64, 0]
    assert list(found.losses.values()) == sorted(found.losses.values())
    y = hidden(256, 1).double() @ weights(256).double().T
    assert found.losses[0] == pytest.approx(float((y - y.mean(0)).square().sum(1).mean()))
    assert sorted(found.order) == list(range(256))


def test_the_ridge_is_the_one_that_serves_unseen_audio() -> None:
    halves = halves_of(hidden(WIDTH, 0, frames=160), hidden(WIDTH, 1))
    best = HiddenUnits.of(weights(), halves).elimination
    tried = [eliminate(weights(), *halves, ridge=ridge) for ridge in (1e-3, 1e-2)]
    assert sum(best.losses.values()) == min(sum(one.losses.values()) for one in tried)


def test_all_units_kept_change_nothing() -> None:
    units = HiddenUnits.of(weights(), halves_of(hidden(WIDTH, 0), hidden(WIDTH, 1)))
    for before, after in zip(layers(), reduce_units(*layers(), units, WIDTH), strict=True):
        torch.testing.assert_close(after.weight, before.weight, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(after.bias, before.bias, rtol=1e-4, atol=1e-4)


def test_widths_that_are_no_multiple_and_vectors_that_never_change() -> None:
    odd = eliminate(weights(100), *halves_of(hidden(100, 0), hidden(100, 1)), ridge=1e-3)
    assert list(odd.losses) == [64, 0]
    assert sorted(odd.order) == list(range(100))
    still = halves_of(torch.ones(9, WIDTH), torch.ones(9, WIDTH))
    units = HiddenUnits.of(weights(), still)
    assert units.elimination.losses[64] == 0
    _, after = reduce_units(*layers(), units, 1)
    kept = after.weight.sum(1) + after.bias
    torch.testing.assert_close(kept, layers()[1].weight.sum(1) + layers()[1].bias)


@pytest.mark.parametrize("count", [0, 3])
def test_impossible_numbers_are_refused(count: int) -> None:
    made = Elimination(order=(1, 0), losses={0: 1.0}, ridge=1e-3)
    units = HiddenUnits(elimination=made, halves=halves_of(torch.ones(2, 2), torch.ones(2, 2)))
    with pytest.raises(ValueError, match=f"between 1 and 2, got {count}"):
        reduce_units(*layers(2), units, count)
