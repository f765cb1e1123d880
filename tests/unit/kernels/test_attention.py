"""Every way to compute an attention gives the same: on a GPU compiled, elsewhere interpreted."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from kernel_device import DEVICE
from liteasr.errors import KernelError, MissingDependencyError
from liteasr.kernels import Backend, low_rank_attention

TOLERANCE = {torch.float32: 3e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}
FAST: tuple[Backend, ...] = ("sdpa", "triton")
Shapes = tuple[int, int, int, int, int, int]


def operands(shapes: Shapes, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, queries, keys, qk, v = shapes
    sizes = ((queries, qk), (keys, qk), (keys, v))
    made = (torch.randn(batch, heads, *size, dtype=dtype, device=DEVICE) for size in sizes)
    query, key, value = made
    return query, key, value


def assert_close(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype] * expected.abs().max().item()
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max().item() <= limit


def agree(*tensors: Tensor, backend: Backend, scaling: float = 0.25, **options: Any) -> None:
    found = low_rank_attention(*tensors, scaling=scaling, backend=backend, **options)
    exact = low_rank_attention(*tensors, scaling=scaling, backend="eager", **options)
    assert found.shape == exact.shape
    assert_close(found, exact)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(
    "shapes",
    [
        (1, 1, 1, 1, 8, 8), (1, 2, 3, 70, 16, 64), (2, 1, 65, 33, 24, 16), (1, 1, 64, 32, 32, 32),
        (1, 1, 5, 96, 48, 80), (3, 1, 2, 7, 64, 40), (1, 1, 9, 31, 96, 112),
        (1, 3, 4, 40, 128, 128), (1, 1, 17, 45, 72, 8), (1, 1, 3, 5, 1, 3),
    ],
)  # fmt: skip
def test_agrees_with_float32_at_any_width_and_length(shapes: Shapes, backend: Backend) -> None:
    agree(*operands(shapes), backend=backend)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype, backend: Backend) -> None:
    query, key, value = operands((1, 2, 33, 70, 24, 48), dtype)
    agree(query, key, value, backend=backend)
    # shares of 1/70: a sum in half precision would lose the small ones beside the large value
    value = torch.full_like(value, 1.0)
    value[..., 0, :] = 1000.0
    agree(0 * query, key, value, backend=backend)


@pytest.mark.parametrize("backend", FAST)
def test_large_scores_do_not_overflow(backend: Backend) -> None:
    query, key, value = operands((1, 1, 5, 40, 16, 16))
    agree(100 * query, 100 * key, value, backend=backend, scaling=1.0)


@pytest.mark.parametrize("backend", FAST)
def test_strides_are_any(backend: Backend) -> None:
    packed = torch.randn(2, 19, 2 * (24 + 24 + 40), device=DEVICE)
    query, key, value = (
        part.view(2, 19, 2, -1).transpose(1, 2) for part in packed.split((48, 48, 80), -1)
    )
    agree(query, key, value, backend=backend)
    columns_apart = (t.mT.contiguous().mT for t in (query, key, value))
    agree(*columns_apart, backend=backend)
    every_other = (t[:, :, ::2] for t in (query, key, value))
    agree(*every_other, backend=backend)


@pytest.mark.parametrize("backend", FAST)
def test_masks(backend: Backend) -> None:
    query, key, value = operands((2, 2, 9, 40, 16, 24))
    seen = torch.rand(2, 1, 9, 40, device=DEVICE) > 0.5
    seen[0, 0, 3] = False
    agree(query, key, value, backend=backend, mask=seen)
    added = torch.zeros(9, 40, device=DEVICE).masked_fill(~seen[0, 0], float("-inf"))
    agree(query, key, value, backend=backend, mask=added)
    agree(query, key, value, backend=backend, mask=torch.randn(2, 1, 1, 40, device=DEVICE))
    found = low_rank_attention(query, key, value, scaling=1.0, mask=seen, backend=backend)
    assert torch.equal(found[0, :, 3], torch.zeros_like(found[0, :, 3])), "no key is seen"


@pytest.mark.parametrize("backend", ["eager", *FAST])
def test_a_batch_of_nothing_gives_nothing(backend: Backend) -> None:
    query, key, value = operands((0, 2, 3, 4, 8, 16))
    assert low_rank_attention(query, key, value, scaling=1.0, backend=backend).shape == (
        0,
        2,
        3,
        16,
    )


def test_eager_keeps_float64() -> None:
    query, key, value = operands((1, 1, 3, 4, 5, 6), torch.float64)
    expected = (0.5 * query @ key.mT).softmax(-1) @ value
    found = low_rank_attention(query, key, value, scaling=0.5, backend="eager")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_auto_has_gradients() -> None:
    query, key, value = (t.requires_grad_() for t in operands((1, 2, 5, 7, 8, 3)))
    low_rank_attention(query, key, value, scaling=0.3).square().sum().backward()
    found = query.grad
    query.grad = None
    low_rank_attention(query, key, value, scaling=0.3, backend="eager").square().sum().backward()
    assert found is not None
    assert query.grad is not None
    torch.testing.assert_close(found, query.grad, rtol=1e-4, atol=1e-5)


def test_what_triton_cannot_do_is_refused() -> None:
    shapes = (1, 1, 3, 4, 16, 16)
    query, key, value = operands(shapes)

    def refused(match: str, *tensors: Tensor) -> None:
        with pytest.raises(KernelError, match=match):
            low_rank_attention(*tensors, scaling=1.0, backend="triton")

    refused(r"value is 144 wide and the limit is 128.*sdpa", query, key, value.repeat(1, 1, 1, 9))
    refused("float64: cast them", query.double(), key.double(), value.double())
    refused("bfloat16 and torch.float32: cast them to one", query, key, value.bfloat16())
    refused("no gradient.*inference_mode", query.requires_grad_(), key, value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"backend": "cuda"}, "backend must be one of auto, eager, sdpa, triton, got 'cuda'"),
        ({"scaling": 0.0}, "scaling must be a positive number, got 0.0"),
        ({"query": torch.zeros(2, 3)}, r"query must have 4 axes, or 3 where shared, got \(2, 3\)"),
        ({"query": torch.zeros(2, 4, 5, 8)}, "agree on the heads, got {'query': 4, 'key': 3"),
        ({"query": torch.zeros(2, 3, 5, 9)}, r"must be \(8, 8\), got 9 and 8"),
        ({"key": torch.zeros(2, 3, 6, 8)}, "one batch size, key and value one length"),
        ({"mask": torch.zeros(5, 6)}, r"mask must fit scores of \(2, 3, 5, 7\), got \(5, 6\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes: dict[str, Any], match: str) -> None:
    sizes = {"query": (2, 3, 5, 8), "key": (2, 3, 7, 8), "value": (2, 3, 7, 4)}
    arguments = {name: torch.zeros(size) for name, size in sizes.items()} | {"scaling": 1.0}
    with pytest.raises(ValueError, match=match):
        low_rank_attention(**arguments | changes)


def test_without_triton_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    query, key, value = operands((1, 1, 3, 4, 8, 8))
    with pytest.raises(MissingDependencyError, match=r"pip install 'liteasr\[gpu\]'"):
        low_rank_attention(query, key, value, scaling=1.0, backend="triton")
