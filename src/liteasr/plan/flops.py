"""What an encoder computes in one whole window, counted without computing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from liteasr.encoders import adapter_for, encode, pooled_from, unpool_positions_
from liteasr.nn import to_vectors

__all__ = ["EncoderFlops", "count_flops"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderFlops:
    """FLOPs of a dense encoder, for one whole window.

    Attributes:
        total: Of all matrix products, convolutions and attentions.
        whole: The same where no positions are pooled.
        vectors: How many vectors leave each target.
    """

    total: float
    whole: float
    vectors: Mapping[str, int]


def count_flops(model: Any) -> EncoderFlops:
    """Run a shadow of the encoder, without numbers, on the meta device.

    Raises:
        UnsupportedModelError: No adapter knows the model.
    """
    from torch.utils.flop_counter import FlopCounterMode  # loads torch.export, and triton

    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    shadow = _shadow(encoder)
    counted = (*adapter.convolutions(encoder), *adapter.targets(encoder))
    targets = [target.name for target in counted]
    dtype = next(encoder.parameters()).dtype
    window = {name: tensor.to(dtype) for name, tensor in adapter.full_window(encoder).items()}
    counter = FlopCounterMode(display=False)
    with _counting(shadow, targets) as vectors, counter, torch.no_grad():
        encode(shadow, window)
    whole = total = float(counter.get_total_flops())
    if pooled_from(encoder) is not None:
        unpool_positions_(shadow)
        with counter, torch.no_grad():
            encode(shadow, window)
        whole = float(counter.get_total_flops())
    return EncoderFlops(total=total, whole=whole, vectors=vectors)


def _shadow(encoder: nn.Module) -> nn.Module:
    """The same modules with tensors that have shapes alone: no weight is copied."""
    memo: dict[int, Any] = {}
    for tensor in (*encoder.parameters(), *encoder.buffers()):
        shape = tensor.to("meta")
        learned = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(shape, requires_grad=False) if learned else shape
    return deepcopy(encoder, memo)


@contextmanager
def _counting(encoder: nn.Module, names: list[str]) -> Iterator[dict[str, int]]:
    vectors = dict.fromkeys(names, 0)

    def count(name: str, module: nn.Module, leaving: Tensor) -> None:
        vectors[name] += to_vectors(module, leaving)[..., 0].numel()

    with ExitStack() as hooks:
        for name in names:
            hook = encoder.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: count(name, module, output)
            )
            hooks.enter_context(hook)
        yield vectors
