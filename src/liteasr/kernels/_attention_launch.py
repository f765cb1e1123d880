"""When the Triton kernel of attention can run, and how it is launched."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from liteasr.errors import KernelError
from liteasr.kernels._attention_triton import attention_kernel
from liteasr.kernels._triton import (
    INTERPRETED,
    aligned,
    power_of_two,
    refusal_of,
    require_capability,
    split_width,
    tuned,
    zero_padded,
)
from liteasr.kernels.operands import ByHead, Operands

__all__ = ["attend"]

WIDEST = 128
LOG2_E = 1.4426950408889634
CONFIGS = [
    triton.Config({"ROWS": rows, "COLS": cols}, num_warps=warps, num_stages=stages)
    for rows, cols, warps, stages in (
        *((64, 32, 4, 3), (64, 64, 4, 3), (64, 128, 4, 3), (128, 32, 4, 3), (128, 64, 4, 3)),
        *((128, 64, 8, 3), (128, 128, 8, 2), (128, 128, 8, 3)),
    )
]
TUNED_BY = [
    *("heads", "queries", "keys", "QUERY", "KEY", "KEY_TAIL", "VALUE", "VALUE_TAIL", "OUT"),
    *("FOLD", "UNFOLD", "MASK"),
]
kernel = tuned(attention_kernel, CONFIGS, TUNED_BY)


def attend(operands: Operands) -> ByHead:
    """Launch the kernel.

    Raises:
        KernelError: It cannot run on this device or on these tensors.
    """
    if reason := _refusal(operands):
        raise KernelError(f"the triton kernel of attention cannot run: {reason}")
    none = (None, None)
    attended: Tensor = _attention(
        *(operands.query, operands.key, operands.value, operands.scaling, operands.mask),
        *(operands.query_fold or none),
        *(operands.value_fold or none),
    )
    return attended


def _refusal(operands: Operands) -> str:
    """Why the kernel cannot run, or nothing."""
    query, key, value, _, mask, query_fold, value_fold = operands
    tensors = [query, key, value, *(query_fold or ()), *(value_fold or ())]
    if mask is not None and mask.dtype != torch.bool:
        tensors.append(mask)
    if reason := refusal_of(tensors):
        return reason
    widths = {"query": query.shape[-1], "key": key.shape[-1], "value": value.shape[-1]}
    if value_fold is not None:
        widths["value_fold"] = value_fold.matrix.shape[1]
    for name, width in widths.items():
        if not 1 <= width <= WIDEST:
            return f"{name} is {width} wide and the limit is {WIDEST}: take backend='sdpa'"
    return ""


def _empty_output(query: Tensor, width: int) -> Tensor:
    """Heads lie beside each other in memory, as the layer behind an attention reads them."""
    batch, heads, queries, _ = query.shape
    return query.new_empty(batch, queries, heads, width).transpose(1, 2)


@torch.library.custom_op("liteasr::attention", mutates_args=())
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    mask: Tensor | None,
    fold: Tensor | None,
    fold_bias: Tensor | None,
    unfold: Tensor | None,
    unfold_bias: Tensor | None,
) -> Tensor:
    """The launch, opaque to torch.compile."""
    out = _empty_output(query, value.shape[-1] if unfold is None else unfold.shape[1])
    if out.numel() == 0:
        return out
    query, key, value = (aligned(t) for t in (query, key, value))
    batch, heads, queries, width = query.shape
    constants = _constants(query, key, value, mask, fold, out)
    constants["UNFOLD"] = unfold is not None
    if fold is not None and fold_bias is not None:
        fold = zero_padded(fold, width, key.shape[3])
        fold_bias = zero_padded(fold_bias, key.shape[3])
    if unfold is not None:
        unfold = zero_padded(unfold, unfold.shape[1], value.shape[3])
    # what is not there is not read either: any tensor stands for it
    fold, fold_bias, unfold, unfold_bias = (
        query if t is None else t.contiguous() for t in (fold, fold_bias, unfold, unfold_bias)
    )
    seen = query if mask is None else mask.view(torch.int8) if mask.dtype == torch.bool else mask
    require_capability(query.device)
    with torch.cuda.device_of(query):  # type: ignore[no-untyped-call]
        kernel[lambda chosen: (-(-queries // chosen["ROWS"]), batch * heads)](
            *(query, key, value, out, seen, fold, fold_bias, unfold, unfold_bias),
            *(*query.stride(), *key.stride(), *value.stride(), *seen.stride(), *out.stride()[:3]),
            *(heads, queries, key.shape[2], width, key.shape[3], value.shape[3], out.shape[3]),
            scaling * LOG2_E,
            **constants,
            enable_fp_fusion=True,  # products and sums in one instruction; Triton 3.9 wants it said
        )
    return out


@_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> Tensor:
    unfold = others[4]
    return _empty_output(query, value.shape[-1] if unfold is None else unfold.shape[1])


def _constants(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, fold: Tensor | None, out: Tensor
) -> dict[str, Any]:
    """What the kernel is compiled for."""
    kind = "none" if mask is None else "seen" if mask.dtype == torch.bool else "added"
    value_width, value_tail = split_width(value.shape[3])
    # a fold read into a tail of 16 columns is compiled wrongly: see `aligned`
    folded = (power_of_two(key.shape[3]), 0)
    key_width, key_tail = split_width(key.shape[3]) if fold is None else folded
    return {
        "QUERY": power_of_two(query.shape[3]),
        "KEY": key_width,
        "KEY_TAIL": key_tail,
        "VALUE": value_width,
        "VALUE_TAIL": value_tail,
        "OUT": power_of_two(out.shape[3]),
        "FOLD": fold is not None,
        "MASK": kind,
        "WIDEN": INTERPRETED and query.dtype == torch.bfloat16,
    }
