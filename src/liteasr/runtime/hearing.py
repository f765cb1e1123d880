"""Which errors of an encoder's output change what the model says: gradients of drawn words."""

from __future__ import annotations

import logging
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from liteasr.errors import TranscriptionError, UnsupportedModelError
from liteasr.runtime.forcing import Forcing, Text, forcing_for
from liteasr.sources import SpeechModel

__all__ = ["Listener", "listener_of"]

log = logging.getLogger(__name__)


@final
class Listener:
    """Says for windows of audio which errors of the encoder's output the decoder hears.

    Args:
        forcing: The decoder of the model, not reduced.
    """

    def __init__(self, forcing: Forcing) -> None:
        self.forcing = forcing

    def __call__(
        self,
        encoded: Float[Tensor, "1 seq width"],
        duration_s: float,
        language: str | None,
        seed: int,
    ) -> Float[Tensor, "1 seq width"] | None:
        """Give the gradient of a random reading of what the model says of a window.

        g = ∂/∂y Σ_t s_t log p(v_t), with words v_t drawn from p and random signs s_t. p is what the
        model says after each token of its own transcript. For an error e of the output y,
        KL(p ‖ p') ≈ ½ E[(Σ gᵀ e)²], summed over the tokens: this is Fisher's information.

        Args:
            encoded: y.
            duration_s: Of the audio in it.
            language: That is spoken; found out where it is left out or the model does not know it.
            seed: Chooses words and signs.

        Returns:
            g, or None where the model hears no text.
        """
        with torch.no_grad():
            text = self._text(encoded, duration_s, language)
        return self.gradient(encoded, text, seed)

    def gradient(
        self, encoded: Float[Tensor, "1 seq width"], text: Text, seed: int
    ) -> Float[Tensor, "1 seq width"] | None:
        """The same where it is known what the model says."""
        if self.forcing.is_empty(text[1]):
            return None
        generator = torch.Generator().manual_seed(seed)
        with torch.enable_grad():
            output = encoded.detach().requires_grad_()
            (states,) = self.forcing.states(output, [text])
            scores = functional.linear(states, *self.forcing.head).float().log_softmax(-1)
            drawn = torch.multinomial(scores.detach().exp().cpu(), 1, generator=generator)
            signs = torch.randint(0, 2, drawn.shape, generator=generator) * 2.0 - 1.0
            said = (scores.gather(1, drawn.to(scores.device)) * signs.to(scores)).sum()
            (gradient,) = torch.autograd.grad(said, output)
        return gradient

    def _text(self, encoded: Tensor, duration_s: float, language: str | None) -> Text:
        try:
            return self.forcing.listen(encoded, duration_s, language)
        except TranscriptionError:
            return self.forcing.listen(encoded, duration_s, None)


def listener_of(speech: SpeechModel) -> Listener | None:
    """A listener to a model; None where no runtime knows how it decodes."""
    try:
        return Listener(forcing_for(speech))
    except UnsupportedModelError as error:
        log.info("all errors of the encoder's output count as much as they are read: %s", error)
        return None
