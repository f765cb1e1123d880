"""What all Triton kernels share: where they can run, and how their blocks are chosen."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["INTERPRETED", "device_refusal", "tuned"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
INTERPRETED = not isinstance(tl.cdiv, triton.JITFunction)


def device_refusal(tensors: Iterable[Tensor]) -> str:
    """Why no kernel can take these tensors, or nothing."""
    tensors = list(tensors)
    if len(devices := sorted({str(t.device) for t in tensors})) > 1:
        return f"its operands are on {' and '.join(devices)}: move them to one device"
    for tensor in tensors:
        device = tensor.device
        if device.type != "cuda" and not INTERPRETED:
            return (
                f"a tensor is on {device}: it needs an NVIDIA GPU, or TRITON_INTERPRET=1 in the "
                "environment before triton is imported (slow, for tests)"
            )
        if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
            name = torch.cuda.get_device_name(device)
            return f"{name} has no compute capability 8.0 (Ampere): take another backend"
        if tensor.dtype not in DTYPES and tensor.dtype != torch.bool:
            return f"a tensor is {tensor.dtype}: cast it to float16, bfloat16 or float32"
        if tensor.requires_grad and torch.is_grad_enabled():
            return "it has no gradient: call it in torch.inference_mode(), or take backend='sdpa'"
    return ""


def tuned(kernel: Any, blocks: Sequence[tuple[int, int, int, int]], by: list[str]) -> Any:
    """A kernel that finds its own block sizes, once for all arguments named in ``by``.

    Args:
        kernel: It takes ROWS and COLS.
        blocks: What to try: rows, columns, warps and pipeline stages.
        by: Names of the arguments that a choice depends on, beside their dtypes.
    """
    tried = blocks[:1] if INTERPRETED else blocks
    configs = [
        triton.Config({"ROWS": rows, "COLS": cols}, num_warps=warps, num_stages=stages)
        for rows, cols, warps, stages in tried
    ]
    options: dict[str, Any] = {}
    if "cache_results" in inspect.signature(triton.autotune).parameters:
        options["cache_results"] = True  # choices outlive the process
    return triton.autotune(configs, key=by, **options)(kernel)
