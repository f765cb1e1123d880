"""Timing and counting: milliseconds, FLOPs, bytes, and shares of what the device was seen to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from liteasr.errors import LiteASRError

__all__ = ["Bench", "bytes_of", "flops_of"]

Action = Callable[[], Any]


class Bench:
    """Collects rows; every row says what ran, how fast, and how far from the device's limits.

    Attributes:
        rows: What was measured, and what could not run with its reason.
    """

    def __init__(self, device: str, dtype: torch.dtype, min_run_s: float, size: int) -> None:
        self.device, self.dtype, self.min_run_s = device, dtype, min_run_s
        self.rows: list[dict[str, Any]] = []
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        seconds, _ = self._seconds(lambda: torch.mm(a, b, out=out))
        self.peak_flops = 2 * size**3 / seconds
        seconds, _ = self._seconds(lambda: out.copy_(a))
        self.peak_bytes = 2 * a.numel() * a.element_size() / seconds

    def limits(self) -> dict[str, float]:
        """What a large product and a large copy reached, in TFLOP/s and GB/s."""
        return {"matmul_tflops": self.peak_flops / 1e12, "copy_gbps": self.peak_bytes / 1e9}

    def time(
        self,
        section: str,
        name: str,
        action: Action,
        *,
        flops: float = 0.0,
        moved: float = 0.0,
        **facts: Any,
    ) -> None:
        """Add a row: times and, where FLOPs and bytes are given, shares of the limits.

        An action that refuses to run leaves its reason in the row.
        """
        row: dict[str, Any] = {"section": section, "name": name, **facts}
        self.rows.append(row)
        try:
            with torch.inference_mode():
                seconds, spread = self._seconds(action)
        except LiteASRError as error:
            row["not_run"] = str(error)
            return
        row |= {"ms": 1000 * seconds, "iqr_ms": 1000 * spread}
        if flops:
            row |= {"gflop": flops / 1e9, "megabytes": moved / 1e6}
            row |= {"tflops": flops / seconds / 1e12}
            row |= {"share_of_peak": flops / seconds / self.peak_flops}
            row |= {"share_of_bandwidth": moved / seconds / self.peak_bytes}

    def _seconds(self, action: Action) -> tuple[float, float]:
        for _ in range(3):
            action()
        threads = torch.get_num_threads()
        timer = Timer("action()", globals={"action": action}, num_threads=threads)
        found = timer.blocked_autorange(min_run_time=self.min_run_s)
        return found.median, found.iqr


def flops_of(module: nn.Module, *shape: int) -> float:
    """FLOPs of a module on one input, counted without running it: products and convolutions."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    dtype = next(module.parameters()).dtype
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(
            module, shapes, (torch.empty(shape, device="meta", dtype=dtype),)
        )
    return float(counter.get_total_flops())


def bytes_of(*tensors: Tensor) -> float:
    """What must be read or written at least once."""
    return float(sum(t.numel() * t.element_size() for t in tensors))
