"""Where a model computes."""

from __future__ import annotations

import torch

__all__ = ["find_device"]


def find_device(name: str | torch.device | None) -> torch.device:
    """The device that a name means on this machine.

    Args:
        name: As PyTorch names it, such as ``cpu`` or ``cuda:1``; ``auto`` is the first NVIDIA or
            AMD GPU where PyTorch sees one and else the CPU; None is the CPU.

    Raises:
        ValueError: There is no such device, here or anywhere.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cpu" if name is None else name)
    except RuntimeError as error:
        raise ValueError(
            f"device must be 'auto', 'cpu' or one such as 'cuda:0', got {name!r}"
        ) from error
    there = torch.accelerator.current_accelerator()
    if device.type == "cpu":
        return device
    if there is None or device.type != there.type:
        seen = "none but the CPU" if there is None else f"{there.type} and the CPU"
        raise ValueError(f"device {name!r} is not there: PyTorch {torch.__version__} sees {seen}")
    if (count := torch.accelerator.device_count()) <= (device.index or 0):
        raise ValueError(f"device {name!r} is not there: the last one is {there.type}:{count - 1}")
    return device
