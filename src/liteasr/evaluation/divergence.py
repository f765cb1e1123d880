"""How far a reduced encoder moves the decoder: needs no labels, and is smoother than WER."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from liteasr.errors import CalibrationError
from liteasr.evaluation.bootstrap import ratio_interval
from liteasr.evaluation.reference import DenseReference, DenseUtterance, encode_first_window
from liteasr.progress import Track, silent
from liteasr.runtime import ContextChoice
from liteasr.runtime.forcing import Forcing, forcing_for
from liteasr.sources import SpeechModel

__all__ = ["Divergence", "UtteranceDivergence", "measure_divergence"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UtteranceDivergence:
    """The divergence on one utterance.

    Attributes:
        id: The corpus's name for it.
        kl: Summed over its tokens, in nats.
        tokens: Of the dense transcript, with the end token.
        agreed: Those at which both models find the same token the likeliest.
    """

    id: str
    kl: float
    tokens: int
    agreed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """How far a reduced model is from the dense one.

    Attributes:
        model: Name of the reduced model.
        reference: Name of the dense model.
        utterances: In the order of the reference.
    """

    model: str
    reference: str
    utterances: tuple[UtteranceDivergence, ...]

    @property
    def tokens(self) -> int:
        """Give the number of tokens that the mean is taken over."""
        return sum(one.tokens for one in self.utterances)

    @property
    def mean_kl(self) -> float:
        """Give the mean KL per token, in nats."""
        return math.fsum(one.kl for one in self.utterances) / self.tokens

    @property
    def interval(self) -> tuple[float, float]:
        """Give the 95 % bootstrap interval of the mean, drawn over utterances."""
        tokens = [one.tokens for one in self.utterances]
        return ratio_interval([one.kl for one in self.utterances], tokens)

    @property
    def agreement(self) -> float:
        """Give the share of tokens at which both models find the same token the likeliest."""
        return sum(one.agreed for one in self.utterances) / self.tokens

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold, without the utterances."""
        return {
            "model": self.model,
            "reference": self.reference,
            "mean_kl": self.mean_kl,
            "interval_95": list(self.interval),
            "agreement": self.agreement,
            "tokens": self.tokens,
            "utterances": len(self.utterances),
        }


def measure_divergence(
    reference: DenseReference,
    reduced: SpeechModel,
    *,
    context: ContextChoice = "off",
    track: Track = silent,
) -> Divergence:
    """Force the dense transcripts on a reduced model and compare the distributions.

    KL(dense ‖ reduced) = Σ_v p(v) log(p(v) / q(v)), averaged over the tokens of the dense
    transcripts and their end tokens; p and q are softmaxes of the bare logits, in float64.

    Args:
        reference: What `dense_reference` gave.
        reduced: The model to compare; the dense one itself shows what a context loses.
        context: Positions that the reduced model encodes after the end of the audio; the dense
            one encodes the whole window.
        track: Shows progress.

    Raises:
        AudioError: A recording cannot be read any more.
        CalibrationError: The reduced model's output is NaN or Inf.
        ValueError: The vocabularies differ in size.
    """
    forcing = forcing_for(reduced)
    size, dense_size = len(forcing.head[0]), len(reference.head)
    if size != dense_size:
        raise ValueError(
            f"{reduced.name} has {size} tokens and {reference.model} {dense_size}: "
            "compare a model with the dense one it was made from"
        )
    utterances = track(
        reference.utterances, description="Divergence", total=len(reference.utterances)
    )
    return Divergence(
        model=reduced.name,
        reference=reference.model,
        utterances=tuple(_compare(dense, reference, forcing, context) for dense in utterances),
    )


@torch.inference_mode()
def _compare(
    dense: DenseUtterance, reference: DenseReference, forcing: Forcing, context: ContextChoice
) -> UtteranceDivergence:
    encoded = encode_first_window(forcing.speech, dense.utterance.load(), context=context)
    [states] = forcing.states(encoded, [(dense.prompt, dense.targets)])
    q = _log_probabilities(states, *forcing.head)
    p = _log_probabilities(dense.states, reference.head, reference.bias).to(q.device)
    kl = float(functional.kl_div(q, p, reduction="sum", log_target=True))
    if not math.isfinite(kl):
        name = forcing.speech.name
        raise CalibrationError(f"{name} gives NaN or Inf on {dense.utterance.id}: check it")
    return UtteranceDivergence(
        id=dense.utterance.id,
        kl=kl,
        tokens=len(dense.targets),
        agreed=int((p.argmax(dim=-1) == q.argmax(dim=-1)).sum()),
    )


def _log_probabilities(
    states: Float[Tensor, "tokens width"],
    head: Float[Tensor, "vocab width"],
    bias: Float[Tensor, "vocab"] | None,
) -> Float[Tensor, "tokens vocab"]:
    # the logits are the model's own, in its dtype; only the softmax is finer
    return functional.linear(states, head, bias).double().log_softmax(dim=-1)
