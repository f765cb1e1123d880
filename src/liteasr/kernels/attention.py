"""Attention whose queries, keys and values may each be narrower than the heads were.

One entry, `low_rank_attention`, and three ways to compute it: written out in float32, PyTorch's
fused operator, and a Triton kernel that takes every width as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from liteasr.kernels.extra import require_triton
from liteasr.kernels.folding import QueryFold, ValueFold
from liteasr.kernels.operands import ByHead, Operands

__all__ = ["Backend", "low_rank_attention"]

Backend = Literal["auto", "eager", "sdpa", "triton"]


def low_rank_attention(
    query: Float[Tensor, "batch *heads seq query_width"],
    key: Float[Tensor, "batch *heads keys key_width"],
    value: Float[Tensor, "batch *heads keys value_width"],
    *,
    scaling: float,
    mask: Float[Tensor, "*#scores"] | Bool[Tensor, "*#scores"] | None = None,
    query_fold: QueryFold | None = None,
    value_fold: ValueFold | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "batch heads seq out"]:
    """softmax(scaling · Q Kᵀ + mask) V, head by head.

    Reduced by head, queries and keys have one width and values another, and all three are
    [batch, heads, ...]. Folded as in the paper, q₁, k₁ or v₁ are shared by all heads: then they
    are [batch, ...] without an axis of heads, ``query_fold`` takes q₁ to a head's queries, and
    ``value_fold`` the weighted sum of v₁ to its output. The two halves need not be of one kind.

    Args:
        query: By head, or shared.
        key: By head, or shared.
        value: By head, or shared.
        scaling: Factor of the scores: that of the original heads, whatever their width is now.
        mask: Added to the scores, or true where a key is seen. A query that sees no key gets 0.
        query_fold: M_h and the bias of the keys.
        value_fold: W_v2ʰ and its bias.
        backend: ``eager`` computes in float32, ``sdpa`` with PyTorch's fused operator,
            ``triton`` with our kernel or not at all; ``auto`` is ``sdpa``.

    Raises:
        ValueError: Shapes do not fit together, or ``scaling`` is not a positive number.
        KernelError: ``triton`` cannot run here or on these tensors; it says why.
        MissingDependencyError: ``triton`` is not installed.

    Reference: LiteASR (arXiv:2502.20583), section 3.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    operands = Operands(query, key, value, scaling, mask, query_fold, value_fold).checked()
    if backend == "triton":
        require_triton()
        from liteasr.kernels._attention_launch import attend

        return attend(operands)
    if backend == "eager":
        wide = torch.promote_types(query.dtype, torch.float32)
        return _folded_out(_eager, operands.to(wide)).to(query.dtype)
    return _folded_out(_sdpa, operands)


def _folded_out(product: Callable[[Operands], ByHead], operands: Operands) -> ByHead:
    attended = product(operands.unfolded())
    if operands.value_fold is None:
        return attended
    return attended @ operands.value_fold.matrix.mT + operands.value_fold.bias.unsqueeze(1)


def _eager(operands: Operands) -> ByHead:
    """Every step written out: what the others are compared with."""
    scores = operands.scaling * (operands.query @ operands.key.mT)
    mask = operands.mask
    if mask is None:
        return scores.softmax(-1) @ operands.value
    unseen = ~mask if mask.dtype == torch.bool else mask == -math.inf
    scores = scores.masked_fill(unseen, -math.inf) if mask.dtype == torch.bool else scores + mask
    # the softmax of nothing is not a number
    shares = scores.softmax(-1).masked_fill(unseen.all(-1, keepdim=True), 0.0)
    return shares @ operands.value


def _sdpa(operands: Operands) -> ByHead:
    """PyTorch's fused operator.

    Unequal widths leave its fused path on CPUs (three times slower); zeros are cheaper.
    """
    query, key, value, mask = operands.query, operands.key, operands.value, operands.mask
    width = value.shape[-1]
    query, key, value = _to_width(max(query.shape[-1], width), query, key, value)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    attended: Tensor = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=operands.scaling
    )
    return attended[..., :width]


def _to_width(width: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(
        functional.pad(t, (0, width - t.shape[-1])) if t.shape[-1] < width else t for t in tensors
    )
