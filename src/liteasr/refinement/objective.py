"""What refinement makes small: the distance to the original encoder, as the decoder sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from liteasr.encoders import adapter_for, encode, readout_metric

__all__ = ["Objective"]


class Objective:
    """The relative error of the encoder's output in the decoder's metric, and of every block.

    loss = ‖R(ŷ - y)‖² / ‖R(y - E[y])‖² + w · mean_b ‖ĥ_b - h_b‖² / ‖h_b - E[h_b]‖² for each
    window, averaged over a batch. E is the mean over positions, y the original encoder's output,
    R all matrices that read it (keys and values of every cross-attention), h_b the output of
    block b. What no matrix reads costs nothing.

    Args:
        model: The original model; its encoder is the teacher.
        block_weight: w.
    """

    def __init__(self, model: Any, *, block_weight: float) -> None:
        adapter = adapter_for(model)
        self.teacher = adapter.encoder(model)
        self.blocks = adapter.blocks(self.teacher)
        self.block_weight = block_weight
        self.metric = readout_metric(model)

    def __call__(self, student: nn.Module, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The loss, with gradients for the student, and the final error alone."""
        with torch.no_grad():
            expected, expected_blocks = _run(self.teacher, self.blocks, tensors)
        found, found_blocks = _run(student, self.blocks, tensors)
        # errors are small differences: they are taken in float32 whatever the encoders compute in
        with torch.autocast(found.device.type, enabled=False):
            metric = self.metric.T.to(found.device)
            final = _relative_error(found.float() @ metric, expected.float() @ metric)
            if self.block_weight == 0 or not self.blocks:
                return final, final.detach()
            pairs = zip(found_blocks, expected_blocks, strict=True)
            hints = torch.stack([_relative_error(a.float(), b.float()) for a, b in pairs])
            return final + self.block_weight * hints.mean(), final.detach()


def _relative_error(found: Tensor, expected: Tensor) -> Tensor:
    """The mean over windows, each weighed by its own energy, so that batches change nothing."""
    centred = expected - expected.mean(dim=1, keepdim=True)
    errors = (found - expected).square().sum(dim=(1, 2)) / centred.square().sum(dim=(1, 2))
    return errors.mean()


def _run(
    encoder: nn.Module, blocks: tuple[str, ...], tensors: dict[str, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    with _recording(encoder, blocks) as outputs:
        final = encode(encoder, tensors)
    return final, outputs


@contextmanager
def _recording(encoder: nn.Module, blocks: tuple[str, ...]) -> Iterator[list[Tensor]]:
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [encoder.get_submodule(name).register_forward_hook(hook) for name in blocks]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
