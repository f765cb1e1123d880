"""Which errors of a layer the encoder's output shows: gradients of random readings of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.encoders import (
    PADDING_STRIDE,
    EncoderAdapter,
    EncoderInput,
    Target,
    audio_positions,
    entering_positions,
    on_encoder,
    readout_metric,
)
from liteasr.lowrank import Gradients
from liteasr.nn import to_vectors
from liteasr.sources import SpeechModel

__all__ = ["READING_STRIDE", "Listen", "Reader"]

READING_STRIDE = 2  # one window in so many is read: a backward pass costs twice a forward one
HEARD_SHARE = 0.8  # of a reading; the rest is random


# an encoder's output, seconds of audio, the language if known, a seed: see `Listener`
Listen: TypeAlias = Callable[[Tensor, float, str | None, int], Tensor | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Takes gradients of random readings of an encoder's output at the outputs of its layers.

    A reading is Σ_t r_tᵀ y_t with y the encoder's output and r_t = w_t Mᵀ z_t, M the
    `readout_metric`, z random signs and w_t² a quarter at positions of padding. Its gradient g at
    a layer's output satisfies E_z[(Σ_t g_tᵀ e_t)²] = ‖M Δ‖² for what small errors e of that layer
    do to the output. Where the decoder can be listened to, √0.8 h + √0.2 r stands in the place of
    r, with h a gradient of what it says (`Listener`) scaled to the size of r: errors then count by
    what they do to the text.

    Attributes:
        adapter: Of the encoder.
        targets: Layers whose outputs are looked at.
        metric: M.
        listen: Gives h.
    """

    adapter: EncoderAdapter
    targets: tuple[Target, ...]
    metric: Float[Tensor, "width width"]
    listen: Listen | None = None

    @classmethod
    def of(
        cls,
        speech: SpeechModel,
        adapter: EncoderAdapter,
        encoder: nn.Module,
        listen: Listen | None = None,
        only: Container[str] | None = None,
    ) -> Reader:
        """A reader of every target, or of those with the given names."""
        metric = readout_metric(speech.model).to(next(encoder.parameters()).device)
        targets = adapter.targets(encoder)
        if only is not None:
            targets = tuple(target for target in targets if target.name in only)
        return cls(adapter=adapter, targets=targets, metric=metric, listen=listen)

    def read(
        self, encoder: nn.Module, window: EncoderInput, *, seed: int, language: str | None = None
    ) -> dict[str, Gradients]:
        """The gradients of one reading by name of the layer; the seed chooses the signs.

        Of layers that widen the diagonal of g gᵀ is kept: the whole would be as large as all others
        together.
        """
        with torch.no_grad():
            entering = self.adapter.embed(encoder, on_encoder(encoder, window))
        entering = entering.detach().requires_grad_()
        with torch.enable_grad(), self._gradients(encoder) as found:
            output = self.adapter.run_from(encoder, 0, entering)
            weights = self._random(encoder, window, output.shape, seed).to(output.device)
            if self.listen is not None:
                heard = self.listen(output.detach(), window.duration_s, language, seed)
                weights = weights if heard is None else _mixed(heard.float(), weights)
            # of the parameters no gradients are kept
            torch.autograd.grad((output.float() * weights).sum(), entering)
        return found

    def _random(
        self, encoder: nn.Module, window: EncoderInput, shape: tuple[int, ...], seed: int
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, shape, generator=generator) * 2.0 - 1.0
        of = entering_positions(self.adapter, encoder)
        signs[:, audio_positions(window.valid_positions, shape[1], of) :] /= PADDING_STRIDE**0.5
        return signs.to(self.metric) @ self.metric

    @contextmanager
    def _gradients(self, encoder: nn.Module) -> Iterator[dict[str, Gradients]]:
        """Collect what flows back through the outputs of layers while the body runs."""
        found: dict[str, Gradients] = {}

        def arrived(target: Target, module: nn.Module, gradient: Tensor) -> None:
            widens = target.out_features > target.in_features
            part = Gradients.of(to_vectors(module, gradient), diagonal=widens)
            found[target.name] = found[target.name] + part if target.name in found else part

        def hook(target: Target, module: nn.Module, inputs: object, output: Tensor) -> None:
            output.register_hook(partial(arrived, target, module))  # type: ignore[no-untyped-call]

        with ExitStack() as hooks:
            for target in self.targets:
                module = encoder.get_submodule(target.name)
                hooks.enter_context(module.register_forward_hook(partial(hook, target)))
            yield found


def _mixed(heard: Tensor, random: Tensor) -> Tensor:
    """Both, with the shares of their squares; signs are random, so the squares add up."""
    scale = random.norm() / heard.norm().clamp_min(torch.finfo(heard.dtype).tiny)
    both: Tensor = HEARD_SHARE**0.5 * scale * heard + (1 - HEARD_SHARE) ** 0.5 * random
    return both
