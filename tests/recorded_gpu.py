"""What CudaGraph uses of a GPU, as far as results can tell, for machines that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from liteasr.runtime import cuda_graph, window_encoder


class Recorded:
    """A function that knows when it is being recorded."""

    recording: Any = None

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        output = self.function(x)
        if Recorded.recording is not None:
            Recorded.recording.replay = lambda: output.copy_(self.function(x))
        return output


class Stream:
    """A stream that counts what it waits for."""

    def __init__(self, device: torch.device) -> None:
        self.waited = 0

    def wait_stream(self, other: Stream) -> None:
        self.waited += 1


@contextmanager
def record(graph: Any, pool: Any, stream: Stream) -> Iterator[None]:
    """Where no stream is named PyTorch takes one of the current device, which may be another."""
    assert stream.waited == 1, "nothing is recorded before its input is there"
    Recorded.recording = graph
    yield
    Recorded.recording = None


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the CPU for a GPU whose graphs replay Python."""
    for module in (cuda_graph, window_encoder):
        monkeypatch.setattr(module, "is_gpu", lambda device: True)
    for name, substitute in {
        "Stream": Stream, "current_stream": Stream, "stream": lambda stream: nullcontext(),
        "CUDAGraph": SimpleNamespace, "graph": record, "graph_pool_handle": lambda: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, substitute)
