"""A chain of two thin layers, y = activation(up (down x) + bias), in two products or in one kernel.

Between two products the inner features travel to memory and back, and the activation makes
another round; the kernel keeps a block of rows on the chip from x to y.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from liteasr.kernels.extra import require_triton

__all__ = ["Activation", "ChainBackend", "low_rank_chain"]

Activation = Literal["none", "gelu"]
ChainBackend = Literal["auto", "eager", "gemm", "triton"]


def low_rank_chain(
    x: Float[Tensor, "*batch in"],
    down: Float[Tensor, "rank in"],
    up: Float[Tensor, "out rank"],
    bias: Float[Tensor, "out"],
    *,
    activation: Activation = "none",
    backend: ChainBackend = "auto",
) -> Float[Tensor, "*batch out"]:
    """activation(up (down x) + bias).

    Args:
        x: What enters the layer.
        down: The first factor.
        up: The second one.
        bias: Of the layer.
        activation: ``gelu`` is the exact one.
        backend: ``eager`` computes in float32, ``gemm`` in PyTorch's two products, ``triton`` in
            one kernel or not at all; ``auto`` is ``gemm``.

    Raises:
        ValueError: Shapes do not fit together, or an option is unknown.
        KernelError: ``triton`` cannot run here or on these tensors; it says why.
        MissingDependencyError: ``triton`` is not installed.
    """
    for name, known, given in (
        ("activation", Activation, activation),
        ("backend", ChainBackend, backend),
    ):
        if given not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {given!r}")
    if x.shape[-1:] != down.shape[1:] or up.shape != (len(bias), len(down)):
        raise ValueError(
            "x [..., in], down [rank, in], up [out, rank] and bias [out] do not fit together: "
            f"{', '.join(str(tuple(t.shape)) for t in (x, down, up, bias))}"
        )
    if backend == "triton":
        require_triton()
        from liteasr.kernels._chain_launch import chain

        return chain(x, down, up, bias, activation)
    if backend == "eager":
        wide = torch.promote_types(x.dtype, torch.float32)
        return _products(activation, *(t.to(wide) for t in (x, down, up, bias))).to(x.dtype)
    return _products(activation, x, down, up, bias)


def _products(activation: Activation, x: Tensor, down: Tensor, up: Tensor, bias: Tensor) -> Tensor:
    y = functional.linear(functional.linear(x, down), up, bias)
    return functional.gelu(y) if activation == "gelu" else y
