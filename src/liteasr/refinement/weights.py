"""Weights while they are trained: in float32, and put back where the training does not end well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["copies", "exchanged_", "in_training_", "put_"]


def copies(encoder: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now, by name."""
    return {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}


def put_(encoder: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give an encoder these weights, in its own type."""
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.copy_(weights[name])


@contextmanager
def exchanged_(encoder: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """An encoder with other weights inside, its own before and after."""
    own = copies(encoder)
    try:
        put_(encoder, weights)
        yield
    finally:
        put_(encoder, own)


@contextmanager
def in_training_(student: nn.Module, teacher: nn.Module) -> Iterator[None]:
    """Both in float32 inside, in their own types before and after; the teacher learns nothing.

    Where an error or an interruption ends it, the student's weights are what they were. No
    gradients are left behind in any case: they would be added to those of a later training.
    """
    kinds = [(module, next(module.parameters()).dtype) for module in (student, teacher)]
    before = copies(student)
    learning = [p for p in teacher.parameters() if p.requires_grad]
    try:
        for module, _ in kinds:
            module.float()
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    except BaseException:
        put_(student, before)
        raise
    finally:
        student.zero_grad()
        for parameter in learning:
            parameter.requires_grad_(True)
        for module, kind in kinds:
            module.to(kind)
