"""Two products or one kernel: the same chain."""

import sys
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from kernel_device import DEVICE
from liteasr.errors import KernelError, MissingDependencyError
from liteasr.kernels import Activation, ChainBackend, low_rank_chain

FAST: tuple[ChainBackend, ...] = ("gemm", "triton")
TOLERANCE = {torch.float32: 3e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}


def operands(
    rank: int, inputs: int = 40, outputs: int = 70, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sizes = ((3, 5, inputs), (rank, inputs), (outputs, rank), (outputs,))
    x, down, up, bias = (torch.randn(size, dtype=dtype, device=DEVICE) for size in sizes)
    return x, down / inputs**0.5, up / rank**0.5, bias


def agree(*tensors: Tensor, backend: ChainBackend, activation: Activation = "none") -> None:
    x, down, up, bias = tensors
    found, exact = (
        low_rank_chain(x, down, up, bias, activation=activation, backend=way)
        for way in (backend, "eager")
    )
    assert found.shape == (*x.shape[:-1], len(bias))
    assert found.dtype == x.dtype
    assert (found - exact).abs().max() <= TOLERANCE[x.dtype] * exact.abs().max()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("rank", [1, 16, 24, 48, 80, 272, 384])
def test_agrees_with_float32_at_any_rank(
    rank: int, activation: Activation, backend: ChainBackend
) -> None:
    agree(*operands(rank), backend=backend, activation=activation)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype, backend: ChainBackend) -> None:
    agree(*operands(48, 130, 33, dtype), backend=backend, activation="gelu")


@pytest.mark.parametrize("backend", FAST)
def test_strides_are_any(backend: ChainBackend) -> None:
    x, down, up, bias = operands(20)
    agree(x[..., ::2], down[:, ::2], up, bias, backend=backend)
    agree(x.transpose(0, 1), down.mT.contiguous().mT, up.flip(0), bias.flip(0), backend=backend)
    rows = torch.randn(70, 200, device=DEVICE)[:, 3:43]
    agree(rows, down, up, bias, backend=backend)


def test_no_rows_give_no_rows() -> None:
    _, down, up, bias = operands(8)
    for backend in get_args(ChainBackend):
        found = low_rank_chain(down.new_empty(2, 0, 40), down, up, bias, backend=backend)
        assert found.shape == (2, 0, 70)


def test_what_triton_cannot_do_is_refused() -> None:
    with pytest.raises(KernelError, match=r"the rank is 400 and the limit is 384.*gemm"):
        low_rank_chain(*operands(400), backend="triton")
    with pytest.raises(KernelError, match="float64: cast them"):
        low_rank_chain(*(t.double() for t in operands(4)), backend="triton")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"backend": "sdpa"}, "backend must be one of auto, eager, gemm, triton, got 'sdpa'"),
        ({"activation": "relu"}, "activation must be one of none, gelu, got 'relu'"),
        ({"x": torch.zeros(3, 41)}, r"do not fit together: \(3, 41\), \(4, 40\)"),
        ({"bias": torch.zeros(71)}, r"do not fit together: .*\(70, 4\), \(71,\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], match: str) -> None:
    arguments = dict(zip(("x", "down", "up", "bias"), operands(4), strict=True))
    with pytest.raises(ValueError, match=match):
        low_rank_chain(**arguments | changes)


def test_without_triton_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'liteasr\[gpu\]'"):
        low_rank_chain(*operands(4), backend="triton")
