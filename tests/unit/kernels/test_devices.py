"""Where kernels refuse to run, and what they say."""

import pytest
import torch

from liteasr.errors import KernelError
from liteasr.kernels import _triton
from liteasr.kernels._triton import (
    aligned,
    refusal_of,
    require_capability,
    split_width,
    zero_padded,
)


def test_a_cpu_is_refused_unless_kernels_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    assert "on cpu: it needs a GPU, or TRITON_INTERPRET=1" in refusal_of([torch.zeros(1)])
    monkeypatch.setattr(_triton, "INTERPRETED", True)
    assert refusal_of([torch.zeros(1)]) == ""


def test_operands_must_be_together() -> None:
    reason = refusal_of([torch.zeros(1), torch.zeros(1, device="meta")])
    assert reason == "its operands are on cpu and meta: move them to one device"


def test_an_old_gpu_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(KernelError, match=r"Tesla T4 is older than compute capability 8\.0"):
        require_capability(torch.device("cuda:0"))
    require_capability(torch.device("cpu"))


def test_widths_are_padded_as_little_as_two_powers_of_two_allow() -> None:
    found = {width: split_width(width) for width in (1, 16, 24, 40, 48, 56, 80, 96, 112, 272, 368)}
    assert found == {
        1: (16, 0), 16: (16, 0), 24: (32, 0), 40: (32, 16), 48: (32, 16), 56: (64, 0),
        80: (64, 16), 96: (64, 32), 112: (128, 0), 272: (256, 16), 368: (256, 128),
    }  # fmt: skip
    assert all(width <= sum(split_width(width)) < width + 64 for width in range(1, 129))


def test_rows_start_at_sixteens_and_zeros_fill_them_up() -> None:
    for tensor in (
        torch.randn(2, 3, 5, 40),
        torch.randn(2, 5, 3 * 40).view(2, 5, 3, 40).transpose(1, 2),
        torch.randn(2, 3, 48, 5).mT,
        torch.randn(2, 3, 5, 50)[..., 2:],
    ):
        found = aligned(tensor)
        assert found.shape[-1] == 48
        assert torch.equal(found[..., : tensor.shape[-1]], tensor)
        assert not found[..., tensor.shape[-1] :].any()
        assert found.stride(-1) == 1
        assert all(stride % 16 == 0 for stride in found.stride()[:-1])


def test_what_is_aligned_is_not_copied_and_what_is_shared_stays_shared() -> None:
    for tensor in (torch.randn(2, 3, 5, 32), torch.randn(1, 5, 96).view(1, 5, 3, 32)):
        assert aligned(tensor) is tensor
    shared = torch.randn(2, 1, 5, 40).expand(-1, 3, -1, -1)
    found = aligned(shared)
    assert found.shape == (2, 3, 5, 48)
    assert found.stride(1) == 0


def test_zeros_are_added_at_the_ends() -> None:
    tensor = torch.ones(2, 3, 5)
    found = zero_padded(tensor, 4, 8)
    assert found.shape == (2, 4, 8)
    assert torch.equal(found[:, :3, :5], tensor)
    assert found.sum() == tensor.sum()
    assert zero_padded(tensor, 3, 5) is tensor
