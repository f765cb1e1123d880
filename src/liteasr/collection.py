"""Python's search for unreachable cycles, left out where nothing is thrown away."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_collection"]


@contextmanager
def no_collection() -> Iterator[None]:
    """Do not look for cycles inside.

    A tokenizer is hundreds of thousands of small objects, and while they are made Python looks
    several times through them and all of PyTorch: a sixth of the time that a model takes to open.
    """
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looks:
            gc.enable()
