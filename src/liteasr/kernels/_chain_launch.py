"""When the Triton kernel of a chain can run, and how it is launched."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from liteasr.errors import KernelError
from liteasr.kernels._chain_triton import chain_kernel
from liteasr.kernels._triton import INTERPRETED, refusal_of, require_capability, split_width, tuned

__all__ = ["chain"]

HIGHEST_RANK = 384  # beyond it the inner features of 64 rows do not fit into the registers
CONFIGS = [
    triton.Config(
        {"ROWS": rows, "COLS": cols, "DEEP": deep, "SPLIT": split},
        num_warps=warps,
        num_stages=stages,
    )
    for rows, cols, deep, warps, stages in (
        *((64, 64, 32, 8, 3), (64, 128, 32, 8, 3), (64, 64, 64, 8, 3), (64, 128, 64, 8, 2)),
        *((32, 64, 64, 4, 3), (32, 128, 64, 8, 3), (128, 64, 32, 8, 3), (128, 128, 32, 8, 2)),
    )
    for split in (1, 2, 4)
]
TUNED_BY = ["count", "x_width", "out_width", "RANK", "RANK_TAIL", "GELU"]
kernel = tuned(chain_kernel, CONFIGS, TUNED_BY)


def chain(x: Tensor, down: Tensor, up: Tensor, bias: Tensor, activation: str) -> Tensor:
    """Launch the kernel.

    Raises:
        KernelError: It cannot run on this device, on these tensors or at this rank.
    """
    reason = refusal_of((x, down, up, bias))
    if not reason and not 1 <= len(down) <= HIGHEST_RANK:
        reason = f"the rank is {len(down)} and the limit is {HIGHEST_RANK}: take backend='gemm'"
    if reason:
        raise KernelError(f"the triton kernel of a chain cannot run: {reason}")
    y: Tensor = _chain(x.reshape(-1, x.shape[-1]), down, up, bias, activation == "gelu")
    return y.view(*x.shape[:-1], len(bias))


@torch.library.custom_op("liteasr::chain", mutates_args=())
def _chain(x: Tensor, down: Tensor, up: Tensor, bias: Tensor, gelu: bool) -> Tensor:
    """The launch, opaque to torch.compile."""
    out = x.new_empty(x.shape[0], up.shape[0])
    if out.numel() == 0:
        return out
    down, up, bias = down.contiguous(), up.contiguous(), bias.contiguous()
    rank, rank_tail = split_width(down.shape[0])
    rows = x.shape[0]
    require_capability(x.device)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        kernel[lambda chosen: (-(-rows // chosen["ROWS"]), chosen["SPLIT"])](
            *(x, down, up, bias, out, x.stride(0), x.stride(1), out.stride(0)),
            *(rows, x.shape[1], down.shape[0], up.shape[0]),
            RANK=rank,
            RANK_TAIL=rank_tail,
            GELU=gelu,
            WIDEN=INTERPRETED and x.dtype == torch.bfloat16,
            enable_fp_fusion=True,
        )
    return out


@_chain.register_fake
def _(x: Tensor, down: Tensor, up: Tensor, *others: Any) -> Tensor:
    return x.new_empty(x.shape[0], up.shape[0])
