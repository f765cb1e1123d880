"""Triton is asked for where a kernel is, also while torch.compile looks on."""

import torch

from liteasr._optional import require

__all__ = ["require_triton"]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def require_triton() -> bool:
    """Import triton, or say what brings it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    require("triton", extra="gpu")
    return True
