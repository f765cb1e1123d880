"""What refinement makes small: how far the encoder, its blocks and the decoder are moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from liteasr.encoders import adapter_for, encode, pooled_like, readout_metric
from liteasr.refinement.pieces import Said
from liteasr.runtime.decoding import at_targets
from liteasr.runtime.forcing import Forcing

__all__ = ["Distance", "Expected", "Objective"]


class Heard(NamedTuple):
    """What a decoder that is made to say its texts makes of a batch.

    Attributes:
        which: Windows that say something.
        states: What the decoder's head reads before each token, for each of them.
        attended: What its cross-attentions give there, [layers, targets, width] for each; empty
            where it has none.
    """

    which: list[int]
    states: list[Tensor]
    attended: list[Tensor]


class Expected(NamedTuple):
    """What the original model does with a batch.

    Attributes:
        output: Of the encoder, [batch, seq, width].
        blocks: Output of every block; empty where they are not to be compared.
        heard: What the decoder makes of it.
    """

    output: Tensor
    blocks: list[Tensor]
    heard: Heard


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

    loss = ‖R(ŷ - y)‖² / ‖R(y - E[y])‖² + w · mean_b ‖ĥ_b - h_b‖² / ‖h_b - E[h_b]‖²
           + v · mean_l ‖ĉ_l - c_l‖² / ‖c_l‖² + β · KL(p ‖ q)
    with errors averaged over the windows of a batch, and the last two terms over their tokens. y is
    the original encoder's output, E the mean over positions, R all matrices that read it (keys and
    values of every cross-attention), h_b the output of block b; p and q are what the original
    decoder says, token by token of its own transcript, after the original and the reduced encoder,
    and c_l what the cross-attention of its layer l hears there. The errors of the encoder alone
    leave the decoder where it was: what moves ŷ least is not what moves the text least. The
    gradient of the KL is some 15 times theirs, and noisy; a large β drowns them. c_l says for every
    token and every layer what should have been heard. Where the reduced encoder pools positions, y
    and h_b are the means of the same pairs.

    Args:
        model: The original model; its encoder and its decoder are the teachers.
        block_weight: w.
        divergence_weight: β.
        attended_weight: v.
        forcing: The original model's decoder; where β is 0 or it is left out, so is v.
    """

    def __init__(
        self,
        model: Any,
        *,
        block_weight: float,
        divergence_weight: float = 0.0,
        attended_weight: float = 0.0,
        forcing: Forcing | None = None,
    ) -> None:
        adapter = adapter_for(model)
        self.teacher = adapter.encoder(model)
        self.blocks = adapter.blocks(self.teacher)
        self.block_weight = block_weight
        self.divergence_weight = 0.0 if forcing is None else divergence_weight
        self.attended_weight = attended_weight
        self.forcing = forcing if divergence_weight else None
        self.metric = readout_metric(model)

    def __call__(
        self,
        student: nn.Module,
        tensors: dict[str, Tensor],
        said: Sequence[Said | None] = (),
        shares: Sequence[float] | None = None,
        *,
        expected: Expected | None = None,
    ) -> Distance:
        """Compare on a batch of windows.

        Args:
            student: The reduced encoder.
            tensors: The batch.
            said: What the original heard in each window.
            shares: How much the text of each counts; all alike where they are left out.
            expected: What `expect` gave for the same batch; found anew where it is left out.
        """
        expected = expected or self.expect(tensors, said)
        found, found_blocks = _run(student, self.blocks if expected.blocks else (), tensors)
        heard = self._hear(found, said)
        alike = [1 / len(found)] * len(found)
        counts = [(shares or alike)[window] for window in heard.which]
        kl = self._divergence(heard, expected.heard, counts) if counts else found.new_zeros(())
        # errors are small differences: they are taken in float32 whatever the encoders compute in
        with torch.autocast(found.device.type, enabled=False):
            metric = self.metric.T.to(found.device)
            read = pooled_like(expected.output, found).float()
            error = _relative_error(found.float() @ metric, read @ metric)
            loss = error + self.divergence_weight * kl
            loss = loss + self.attended_weight * _attended_error(heard, expected.heard, counts)
            if self.block_weight and found_blocks:
                pairs = zip(found_blocks, expected.blocks, strict=True)
                hints = torch.stack(
                    [_relative_error(a.float(), pooled_like(b, a).float()) for a, b in pairs]
                )
                loss = loss + self.block_weight * hints.mean()
        return Distance(loss, error.detach(), kl.detach())

    @torch.no_grad()
    def expect(
        self, tensors: dict[str, Tensor], said: Sequence[Said | None] = (), *, blocks: bool = True
    ) -> Expected:
        """What the original model does with a batch; without its blocks where they do not count."""
        output, outputs = _run(self.teacher, self.blocks if blocks else (), tensors)
        return Expected(output, outputs, self._hear(output, said))

    def _hear(
        self, encoded: Float[Tensor, "batch seq width"], said: Sequence[Said | None]
    ) -> Heard:
        if self.forcing is None:
            return Heard([], [], [])
        if not self.forcing.reads_tokens:
            said = [Said((), ())] * len(encoded)
        texts = {i: text for i, text in enumerate(said) if text is not None}
        if not texts:
            return Heard([], [], [])
        which, spoken = list(texts), list(texts.values())
        with _recording(self.forcing.cross_attentions) as layers:
            states = self.forcing.states(encoded[which], spoken)
        by_window = zip(*(at_targets(layer, spoken) for layer in layers), strict=True)
        return Heard(which, states, [torch.stack(window) for window in by_window])

    def _divergence(self, found: Heard, expected: Heard, shares: Sequence[float]) -> Tensor:
        """KL(p ‖ q), the mean over the tokens of each window that says something."""
        q = self._log_probabilities(found.states)
        with torch.no_grad():
            p = self._log_probabilities(expected.states)
        tokens = functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
        weights = [
            torch.full((len(states),), share / len(states))
            for share, states in zip(shares, found.states, strict=True)
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


def _attended_error(found: Heard, expected: Heard, shares: Sequence[float]) -> Tensor | float:
    """The mean over layers of relative errors, over the tokens of each window that has any."""
    if not found.attended:
        return 0.0
    total = torch.zeros((), device=found.attended[0].device)
    for share, mine, theirs in zip(shares, found.attended, expected.attended, strict=True):
        errors = (mine.float() - theirs.float()).square().sum(dim=(1, 2))
        total = total + share * (errors / theirs.float().square().sum(dim=(1, 2))).mean()
    return total


def _run(
    encoder: nn.Module, blocks: tuple[str, ...], tensors: dict[str, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    with _recording(map(encoder.get_submodule, blocks)) as outputs:
        final = encode(encoder, tensors)
    return final, outputs


@contextmanager
def _recording(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(hook))
        yield outputs
