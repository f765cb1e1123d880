"""What all Triton kernels share: where they can run, and the widths and blocks they work in."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from liteasr.errors import KernelError

__all__ = [
    "INTERPRETED",
    "aligned",
    "power_of_two",
    "refusal_of",
    "require_capability",
    "split_width",
    "tuned",
    "zero_padded",
]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
INTERPRETED = not isinstance(tl.cdiv, triton.JITFunction)
NARROWEST = 16  # of a product on tensor cores
ALIGNED = 16  # elements; the compiler knows of none or of as many


def refusal_of(tensors: Iterable[Tensor]) -> str:
    """Why no kernel can take these tensors, or nothing."""
    tensors = list(tensors)
    if len(devices := sorted({str(t.device) for t in tensors})) > 1:
        return f"its operands are on {' and '.join(devices)}: move them to one device"
    if len(dtypes := sorted({str(t.dtype) for t in tensors})) > 1:
        return f"its operands are {' and '.join(dtypes)}: cast them to one dtype"
    device, dtype = tensors[0].device, tensors[0].dtype
    if dtype not in DTYPES:
        return f"its operands are {dtype}: cast them to float16, bfloat16 or float32"
    if device.type != "cuda" and not INTERPRETED:
        return (
            f"its operands are on {device}: it needs a GPU, or TRITON_INTERPRET=1 in the "
            "environment before triton is imported (slow, for tests)"
        )
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return "it has no gradient: call it in torch.inference_mode()"
    return ""


def require_capability(device: torch.device) -> None:
    """Check the GPU at launch: the compiler cannot look into this.

    Raises:
        KernelError: It is too old.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise KernelError(
            f"{torch.cuda.get_device_name(device)} is older than compute capability 8.0, which "
            "triton's products need: take another backend"
        )


def power_of_two(width: int) -> int:
    """The least power of two that holds a width, 16 at least."""
    return max(NARROWEST, 1 << (width - 1).bit_length())


def split_width(width: int) -> tuple[int, int]:
    """The cheapest one or two powers of two, from 16 on, that hold a width: 48 is 32 and 16."""
    whole = power_of_two(width)
    half = whole // 2
    if half < NARROWEST or half + power_of_two(width - half) >= whole:
        return whole, 0
    return half, power_of_two(width - half)


def aligned(tensor: Tensor) -> Tensor:
    """A tensor whose rows are whole sixteens of elements and start at sixteens, copied if need be.

    Other rows pass through registers on their way to a product. Triton 3.6 and 3.9 compile that
    wrongly for Hopper GPUs: heads 40 wide gave outputs that were half off, or touched memory that
    is not theirs. Zeros fill up a row; a stride of 0 stays one.
    """
    missing = -tensor.shape[-1] % ALIGNED
    strides = [tensor.stride(axis) for axis in range(tensor.ndim - 1) if tensor.shape[axis] > 1]
    starts = (tensor.data_ptr() // tensor.element_size(), *strides)
    if not missing and tensor.stride(-1) == 1 and not any(start % ALIGNED for start in starts):
        return tensor
    once = tensor
    for axis in range(tensor.ndim - 1):
        once = once.narrow(axis, 0, 1) if tensor.stride(axis) == 0 else once
    return functional.pad(once, (0, missing)).contiguous().expand(*tensor.shape[:-1], -1)


def zero_padded(tensor: Tensor, *sizes: int) -> Tensor:
    """A tensor with zeros at the ends of its last axes, up to these sizes."""
    missing = [m - n for m, n in zip(sizes, tensor.shape[-len(sizes) :], strict=True)]
    if not any(missing):
        return tensor
    return functional.pad(tensor, [side for more in reversed(missing) for side in (0, more)])


def tuned(kernel: Any, configs: Sequence[triton.Config], by: list[str]) -> Any:
    """A kernel that finds its fastest configuration, once for all arguments named in ``by``.

    Args:
        kernel: What to launch.
        configs: What to try; the interpreter takes the first.
        by: Names of the arguments that a choice depends on, beside their dtypes.
    """
    options: dict[str, Any] = {}
    if "cache_results" in inspect.signature(triton.autotune).parameters:
        options["cache_results"] = True  # choices outlive the process
    return triton.autotune(configs[:1] if INTERPRETED else configs, key=by, **options)(kernel)
