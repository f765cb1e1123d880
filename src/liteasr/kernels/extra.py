"""Triton is asked for where a kernel is, but not while torch.compile looks on."""

import torch

from liteasr._optional import require

__all__ = ["require_triton"]


def require_triton() -> None:
    """Import triton, or say what brings it.

    A compiler cannot follow an import by name, and has found triton by its own means.
    ``torch.compiler.assume_constant_result`` would let it, at the price of loading the whole
    compiler (1.5 s, and triton) with every import of this package.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if not torch.compiler.is_compiling():
        require("triton", extra="gpu")
