import itertools

import numpy as np
import pytest

from liteasr.lowrank import Choice, allocate


def layer(rng: np.random.Generator, ranks: int = 6) -> list[Choice]:
    """A falling spectrum: loss is the tail, cost the rank, and a dense option without loss."""
    variances = np.sort(rng.exponential(size=ranks))[::-1]
    chains = [Choice(k, float(k), float(variances[k:].sum())) for k in range(1, ranks)]
    return [*chains, Choice(None, ranks * 0.8, 0.0)]


def cost(chosen: list[Choice]) -> float:
    return sum(choice.cost for choice in chosen)


def loss(chosen: list[Choice]) -> float:
    return sum(choice.loss for choice in chosen)


@pytest.mark.parametrize("seed", range(5))
def test_budgets_are_kept_and_nothing_that_fits_is_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [layer(rng) for _ in range(8)]
    for budget in (8.0, 15.5, 24.0, 40.0):
        chosen = allocate(layers, budget)
        assert cost(chosen) <= budget
        for options, choice in zip(layers, chosen, strict=True):
            if choice.loss > 0 and budget - cost(chosen) >= 3:
                assert choice == min(options, key=lambda o: o.loss)


@pytest.mark.parametrize("seed", range(8))
def test_close_to_the_best_of_all_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [layer(rng, ranks=5) for _ in range(4)]
    budget = 9.0
    best = min(
        loss(list(combination))
        for combination in itertools.product(*layers)
        if cost(list(combination)) <= budget
    )
    # the convex relaxation is off by less than one step of one layer
    step = max(options[0].loss for options in layers)
    assert best <= loss(allocate(layers, budget)) <= best + step


def test_more_budget_never_loses_more() -> None:
    layers = [layer(np.random.default_rng(seed)) for seed in range(6)]
    losses = [loss(allocate(layers, budget)) for budget in np.linspace(6, 30, 25)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0


def test_sensitive_layers_get_the_ranks() -> None:
    meek = [Choice(k, float(k), 4.0 - k) for k in range(1, 5)]
    loud = [Choice(k, float(k), 100 * (4.0 - k)) for k in range(1, 5)]
    chosen = allocate([meek, loud], 5.0)
    assert [choice.pick for choice in chosen] == [1, 4]


def test_options_that_cost_more_and_lose_more_are_never_taken() -> None:
    options = [Choice(1, 1.0, 1.0), Choice(2, 5.0, 2.0), Choice(None, 3.0, 0.0)]
    assert allocate([options], 10.0) == [Choice(None, 3.0, 0.0)]


def test_a_budget_below_the_cheapest_is_refused() -> None:
    with pytest.raises(ValueError, match="cheapest options cost 2, more than the budget 1"):
        allocate([[Choice(1, 2.0, 0.0)]], 1.0)
