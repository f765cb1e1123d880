"""Recording and replaying: on a GPU if there is one, else with a stand-in that replays Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from kernel_device import DEVICE
from liteasr.runtime import gpu_encoder
from liteasr.runtime.cuda_graph import CudaGraph
from recorded_gpu import Recorded, stand_in


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE != "cuda":
        stand_in(monkeypatch)


@pytest.fixture
def recorded_encoder(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """Every packed encoder that is recorded, counting its calls."""
    made: list[Recorded] = []

    def graph(function: Callable[[Tensor], Tensor], example: Tensor, **options: Any) -> CudaGraph:
        made.append(Recorded(function))
        return CudaGraph(made[-1], example, **options)

    monkeypatch.setattr(gpu_encoder, "CudaGraph", graph)
    return made
