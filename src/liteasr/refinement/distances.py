"""Distances of a reduced encoder from the original one on windows, as its device computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from liteasr.refinement.config import Precision
from liteasr.refinement.material import text_shares
from liteasr.refinement.objective import Distance, Expected, Objective
from liteasr.refinement.windows import TrainingWindow

__all__ = ["Distances"]

NATIVE_BFLOAT16 = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@final
class Distances:
    """What `Objective` says of windows, on the encoder's device and in the precision asked for.

    Args:
        objective: What is made small.
        encoder: The reduced one.
        precision: Of the products.
    """

    def __init__(self, objective: Objective, encoder: nn.Module, *, precision: Precision) -> None:
        self.objective, self.encoder = objective, encoder
        self.device = next(encoder.parameters()).device
        self.low = _low_precision(precision, self.device)
        self._expected: list[Expected] = []  # of the windows that check

    def batches(self, windows: list[TrainingWindow]) -> list[list[TrainingWindow]]:
        """One batch where a GPU wants it and the lengths agree; on a CPU one window at a time."""
        names = windows[0].input.tensors.keys()
        alike = all(len({w.input.tensors[name].shape for w in windows}) == 1 for name in names)
        if self.device.type == "cpu" or not alike:
            return [[window] for window in windows]
        return [windows]

    def of(self, windows: Sequence[TrainingWindow], shares: Sequence[float]) -> Distance:
        """Of a batch; ``shares`` say how much the text of each window counts."""
        said = [window.said for window in windows]
        with self._autocast():
            return self.objective(self.encoder, self._tensors(windows), said, shares)

    @torch.no_grad()
    def held_out(self, windows: Sequence[TrainingWindow]) -> tuple[float, float | None]:
        """What is made small, the blocks apart, and the decoder's part of it.

        The windows must be the same every time: the original is asked about them once.
        """
        found: list[Distance] = []
        shares = text_shares(windows, self.objective.forcing)
        for place, (window, share) in enumerate(zip(windows, shares, strict=True)):
            tensors, said = self._tensors([window]), [window.said]
            with self._autocast():
                if place == len(self._expected):
                    self._expected.append(self.objective.expect(tensors, said, blocks=False))
                expected = self._expected[place]
                found.append(
                    self.objective(self.encoder, tensors, said, [share], expected=expected)
                )
        error = sum(float(one.error) for one in found) / len(found)
        kl = sum(float(one.kl) for one in found)
        weight = self.objective.divergence_weight
        return error + weight * kl, kl if weight else None

    def _tensors(self, windows: Sequence[TrainingWindow]) -> dict[str, Tensor]:
        return {
            name: torch.cat([w.input.tensors[name] for w in windows]).to(self.device)
            for name in windows[0].input.tensors
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.low)


def _low_precision(precision: Precision, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # elsewhere bfloat16 is emulated, slower than float32
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in NATIVE_BFLOAT16)
