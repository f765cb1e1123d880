"""Moments taken while an encoder runs, by hooks that are borrowed and given back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from liteasr.encoders import Observation, audio_positions
from liteasr.lowrank import Moments
from liteasr.nn import to_vectors

__all__ = ["observing"]


@contextmanager
def observing(
    encoder: nn.Module,
    observations: Iterable[Observation],
    *,
    positions: int | None = None,
    of: int | None = None,
    padding_stride: int | None = None,
) -> Iterator[dict[str, Moments]]:
    """Collect moments at the given places while the body runs the encoder.

    ::

        with observing(encoder, observations, positions=300) as moments:
            encoder(features)

    Args:
        encoder: The module whose submodules are observed.
        observations: Where to look; duplicates are taken once.
        positions: How many leading positions to count; None counts all of them.
        of: How many positions enter the encoder, where places may see fewer: of those that see
            half of them half are counted, rounded up.
        padding_stride: Of those that follow, count one in so many too; None counts none.

    The hooks are removed on exit, also after an error.
    """
    moments: dict[str, Moments] = {}

    def record(key: str, module: nn.Module, activations: Tensor) -> None:
        vectors = to_vectors(module, activations)
        if key not in moments:
            moments[key] = Moments.empty(vectors.shape[-1], device=vectors.device)
        leading = None if positions is None else audio_positions(positions, vectors.shape[1], of)
        moments[key].update_(vectors[:, :leading])
        if leading is not None and padding_stride is not None:
            moments[key].update_(vectors[:, leading::padding_stride])

    with ExitStack() as hooks:
        for place in set(observations):
            module = encoder.get_submodule(place.module)
            if place.side == "input":
                hook = module.register_forward_pre_hook(_on_input(place.key, record))
            else:
                hook = module.register_forward_hook(_on_output(place.key, record))
            hooks.enter_context(hook)
        yield moments


def _on_input(key: str, record: Any) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        record(key, module, inputs[0])

    return hook


def _on_output(key: str, record: Any) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record(key, module, output)

    return hook
