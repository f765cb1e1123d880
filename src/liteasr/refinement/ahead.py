"""Windows drawn while a GPU computes, so that it does not wait for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

import torch

from liteasr.refinement.windows import TrainingWindow

__all__ = ["DrawnAhead", "drawers_for"]

STEPS_AHEAD = 4
MOST_DRAWERS = 16

Draw = Callable[[int, int], TrainingWindow]


@final
class DrawnAhead:
    """The windows of every step, in any order of steps; those of the next ones are on their way.

    Args:
        draw: Gives the window at a place of a step's batch; called from several threads.
        batch_size: Windows of a step.
        steps: Number of the steps, behind which nothing is drawn.
        drawers: Threads; without any a step's windows are drawn when they are asked for.
    """

    def __init__(self, draw: Draw, *, batch_size: int, steps: int, drawers: int) -> None:
        self._draw, self._batch_size, self._steps = draw, batch_size, steps
        self._pool = ThreadPoolExecutor(drawers) if drawers else None
        self._coming: dict[int, list[Future[TrainingWindow]]] = {}

    def of(self, step: int) -> list[TrainingWindow]:
        """The windows of a step."""
        places = range(self._batch_size)
        if self._pool is None:
            return [self._draw(step, place) for place in places]
        for later in range(step, min(step + 1 + STEPS_AHEAD, self._steps)):
            if later not in self._coming:
                self._coming[later] = [self._pool.submit(self._draw, later, i) for i in places]
        return [window.result() for window in self._coming.pop(step)]

    def close(self) -> None:
        """Draw nothing more."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def drawers_for(device: torch.device) -> int:
    """How many threads draw: none where the device is the processor that they would keep busy."""
    return 0 if device.type == "cpu" else min(MOST_DRAWERS, max(1, (os.cpu_count() or 2) - 1))
