"""What refinement makes small: how far the encoder, its blocks and the decoder are moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from liteasr.encoders import adapter_for, encode, pooled_like, readout_metric
from liteasr.refinement.pieces import Said
from liteasr.runtime.forcing import Forcing

__all__ = ["Distance", "Objective"]


class Distance(NamedTuple):
    """How far the reduced encoder is from the original one; scalars.

    Attributes:
        loss: What is made small, with gradients.
        error: Relative error of the encoder's output.
        kl: Of the decoder, per token; 0 where none is held to anything.
    """

    loss: Tensor
    error: Tensor
    kl: Tensor


class Objective:
    """The decoder's divergence, and the relative errors of the encoder's output and its blocks.

    loss = ‖R(ŷ - y)‖² / ‖R(y - E[y])‖² + w · mean_b ‖ĥ_b - h_b‖² / ‖h_b - E[h_b]‖² + β · KL(p ‖ q)
    with errors averaged over the windows of a batch, and KL over their tokens. y is the original
    encoder's output, E the mean over positions, R all matrices that read it (keys and values of
    every cross-attention), h_b the output of block b; p and q are what the original decoder says,
    token by token of its own transcript, after the original and the reduced encoder. The errors
    alone leave the decoder where it was: what moves ŷ least is not what moves the text least. Its
    gradient is some 15 times theirs, and noisy; a large β drowns them. Where the reduced encoder
    pools positions, y and h_b are the means of the same pairs.

    Args:
        model: The original model; its encoder and its decoder are the teachers.
        block_weight: w.
        divergence_weight: β.
        forcing: The original model's decoder; may be left out where β is 0.
    """

    def __init__(
        self,
        model: Any,
        *,
        block_weight: float,
        divergence_weight: float = 0.0,
        forcing: Forcing | None = None,
    ) -> None:
        adapter = adapter_for(model)
        self.teacher = adapter.encoder(model)
        self.blocks = adapter.blocks(self.teacher)
        self.block_weight = block_weight
        self.divergence_weight = 0.0 if forcing is None else divergence_weight
        self.forcing = forcing if divergence_weight else None
        self.metric = readout_metric(model)

    def __call__(
        self,
        student: nn.Module,
        tensors: dict[str, Tensor],
        said: Sequence[Said | None] = (),
        shares: Sequence[float] | None = None,
    ) -> Distance:
        """Compare on a batch of windows.

        Args:
            student: The reduced encoder.
            tensors: The batch.
            said: What the original heard in each window.
            shares: How much the text of each counts; all alike where they are left out.
        """
        with torch.no_grad():
            expected, expected_blocks = _run(self.teacher, self.blocks, tensors)
        found, found_blocks = _run(student, self.blocks, tensors)
        kl = self._divergence(found, expected, said, shares or [1 / len(found)] * len(found))
        # errors are small differences: they are taken in float32 whatever the encoders compute in
        with torch.autocast(found.device.type, enabled=False):
            metric = self.metric.T.to(found.device)
            read = pooled_like(expected, found).float()
            error = _relative_error(found.float() @ metric, read @ metric)
            loss = error + self.divergence_weight * kl
            if self.block_weight and self.blocks:
                pairs = zip(found_blocks, expected_blocks, strict=True)
                hints = torch.stack(
                    [_relative_error(a.float(), pooled_like(b, a).float()) for a, b in pairs]
                )
                loss = loss + self.block_weight * hints.mean()
        return Distance(loss, error.detach(), kl.detach())

    def _divergence(
        self,
        found: Float[Tensor, "batch seq width"],
        expected: Float[Tensor, "batch seq width"],
        said: Sequence[Said | None],
        shares: Sequence[float],
    ) -> Tensor:
        """KL(p ‖ q), the mean over the tokens of each window that says something."""
        if self.forcing is None:
            return found.new_zeros(())
        if not self.forcing.reads_tokens:
            said = [Said((), ())] * len(found)
        heard = [(i, text) for i, text in enumerate(said) if text is not None]
        if not heard:
            return found.new_zeros(())
        which, texts = [i for i, _ in heard], [text for _, text in heard]
        states = self.forcing.states(found[which], texts)
        q = self._log_probabilities(states)
        with torch.no_grad():
            p = self._log_probabilities(self.forcing.states(expected[which], texts))
        tokens = functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
        weights = [
            torch.full((len(s),), shares[i] / len(s)) for i, s in zip(which, states, strict=True)
        ]
        return tokens @ torch.cat(weights).to(tokens)

    def _log_probabilities(self, states: Sequence[Tensor]) -> Float[Tensor, "tokens vocab"]:
        assert self.forcing is not None
        head, bias = self.forcing.head
        together = torch.cat(list(states))
        with torch.autocast(together.device.type, enabled=False):
            bias = None if bias is None else bias.float()
            return functional.linear(together.float(), head.float(), bias).log_softmax(-1)


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
