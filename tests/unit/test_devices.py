"""What the name of a device means here."""

import pytest
import torch

from liteasr.devices import find_device

CPU = torch.device("cpu")


def test_the_cpu_is_always_there() -> None:
    assert find_device(None) == find_device("cpu") == find_device(CPU) == CPU


@pytest.mark.parametrize(("there", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert find_device("auto") == torch.device(expected)


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="such as 'cuda:0', got 'gpu'"):
        find_device("gpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    with pytest.raises(ValueError, match=r"'cuda' is not there: PyTorch .* sees none but the CPU"):
        find_device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not there: the last one is cuda:1"):
        find_device("cuda:2")
    with pytest.raises(ValueError, match=r"'mps' is not there: PyTorch .* sees cuda and the CPU"):
        find_device("mps")
