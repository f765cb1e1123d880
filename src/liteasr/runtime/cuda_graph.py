"""A function recorded on a GPU once and replayed: one launch for hundreds of kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from liteasr.errors import KernelError

__all__ = ["CudaGraph", "is_gpu", "require_cuda"]

WARM_UP = 3  # libraries choose algorithms and kernels tune themselves before anything is recorded


@final
class CudaGraph:
    """A function of one tensor at one shape, with all its memory laid out in advance.

    A call copies its input into place and replays: no allocation, no Python in between.

    Args:
        function: From a tensor to a tensor, without synchronization and without gradients.
        example: An input; its values do not matter.
        pool: Memory to share with other graphs that never run at the same time.

    Raises:
        KernelError: The example is not on a CUDA device.
    """

    @torch.inference_mode()
    def __init__(
        self, function: Callable[[Tensor], Tensor], example: Tensor, *, pool: Any = None
    ) -> None:
        require_cuda(example.device)
        self._input = example.clone()
        aside = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                function(self._input)
        torch.cuda.current_stream(example.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # a stream of the example's device: by itself PyTorch records on the current one
        with torch.cuda.graph(self._graph, pool=pool, stream=aside):
            self._output = function(self._input)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """The function's output, in a place that the next call writes to again.

        Raises:
            ValueError: The input has another shape or dtype than the example.
        """
        if (x.shape, x.dtype) != (self._input.shape, self._input.dtype):
            raise ValueError(
                f"the graph was recorded for {self._input.dtype} {list(self._input.shape)}, got "
                f"{x.dtype} {list(x.shape)}: record another one"
            )
        self._input.copy_(x, non_blocking=True)
        self._graph.replay()
        return self._output


def is_gpu(device: torch.device) -> bool:
    """Whether graphs can be recorded on a device."""
    return device.type == "cuda"


def require_cuda(device: torch.device) -> None:
    """Check that graphs can be recorded on a device.

    Raises:
        KernelError: They cannot.
    """
    if not is_gpu(device):
        raise KernelError(
            f"CUDA graphs need an NVIDIA GPU, this is on {device}: move the model there with "
            ".to('cuda'), or run it without a graph"
        )
