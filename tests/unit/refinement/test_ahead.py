import threading
from typing import Any

import pytest
import torch

from liteasr.refinement.ahead import STEPS_AHEAD, DrawnAhead, drawers_for


class Draws:
    """Tells what is drawn, and remembers what was."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def __call__(self, step: int, place: int) -> Any:
        self.seen.append((step, place))
        self.threads.add(threading.get_ident())
        if step == 7:
            raise ValueError("step 7 cannot be drawn")
        return step, place


@pytest.mark.parametrize("drawers", [0, 3])
def test_every_step_gets_its_own_windows_in_order(drawers: int) -> None:
    ahead = DrawnAhead(Draws(), batch_size=3, steps=6, drawers=drawers)
    for step in (0, 1, 2, 5):  # a run that goes on later may begin anywhere
        assert ahead.of(step) == [(step, place) for place in range(3)]
    ahead.close()


def test_the_next_steps_are_drawn_elsewhere_meanwhile_and_no_more_than_there_are() -> None:
    draws = Draws()
    ahead = DrawnAhead(draws, batch_size=2, steps=STEPS_AHEAD + 2, drawers=2)
    ahead.of(0)
    ahead.of(1)
    ahead.close()
    assert threading.get_ident() not in draws.threads
    assert {step for step, _ in draws.seen} <= set(range(STEPS_AHEAD + 2))


def test_without_drawers_nothing_is_drawn_before_it_is_asked_for() -> None:
    draws = Draws()
    ahead = DrawnAhead(draws, batch_size=2, steps=9, drawers=0)
    ahead.of(4)
    assert draws.seen == [(4, 0), (4, 1)]
    ahead.close()


def test_an_error_comes_out_at_its_own_step() -> None:
    ahead = DrawnAhead(Draws(), batch_size=1, steps=9, drawers=2)
    assert ahead.of(6) == [(6, 0)]
    with pytest.raises(ValueError, match="step 7 cannot be drawn"):
        ahead.of(7)
    ahead.close()


def test_a_processor_that_computes_draws_by_itself() -> None:
    assert drawers_for(torch.device("cpu")) == 0
    assert drawers_for(torch.device("cuda")) >= 1
