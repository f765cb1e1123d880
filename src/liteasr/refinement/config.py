"""How to refine: every choice with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Precision", "RefinementConfig"]

Precision = Literal["auto", "float32", "bfloat16"]

MOST = 1e-4
FAR = 2000.0  # what the error of a start is divided by


@dataclass(frozen=True, kw_only=True, slots=True)
class RefinementConfig:
    """Settings of `refine_`.

    Attributes:
        steps: Updates of all weights.
        mlp_steps: Before them, updates of every reduced MLP alone; 0 leaves them out.
        batch_size: Windows of audio per update.
        learning_rate: Peak of AdamW's learning rate; a short warm-up, then a cosine to zero. Every
            check that is worse than one before it halves what is left. Where it is left out the
            error that the refinement starts from says it: `peak`.
        weight_decay: AdamW's.
        gradient_clip: Largest norm of the gradient.
        divergence_weight: Weight of the decoder's divergence beside the error of the encoder's
            output; 0 leaves the decoder out.
        attended_weight: Weight of the error of what the decoder's cross-attentions hear.
        block_weight: Weight of the error of every block's output beside the final one.
        held_out: Share of the utterances that is kept for checks, at least one utterance.
        check_every: Steps between checks on the held-out part.
        patience: Stop after that many checks without a new best; None never stops early.
        save_every: Steps between saves of the state that an interrupted run goes on from.
        short_share: Share of the updates on short windows, which cost a fraction of full ones.
        augment: Whether to vary speed, gain and noise; windows are always cut and joined anew.
        precision: Of the products: ``auto`` takes bfloat16 where the machine computes with it.
        seed: Chooses windows, variations and the held-out part.
        version: Version of this format.
    """

    steps: int = 400
    mlp_steps: int = 300
    batch_size: int = 4
    learning_rate: float | None = None
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    divergence_weight: float = 0.1
    attended_weight: float = 1.0
    block_weight: float = 0.1
    held_out: float = 0.1
    check_every: int = 50
    patience: int | None = None
    save_every: int = 50
    short_share: float = 0.0
    augment: bool = True
    precision: Precision = "auto"
    seed: int = 0
    version: int = 4

    def __post_init__(self) -> None:
        for name in ("batch_size", "check_every", "save_every"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        rate = self.learning_rate
        _require("learning_rate", rate, rate is None or rate > 0, "above 0")
        _require("gradient_clip", self.gradient_clip, self.gradient_clip > 0, "above 0")
        weights = ("weight_decay", "divergence_weight", "attended_weight", "block_weight")
        for name in ("steps", "mlp_steps", *weights):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        _require("held_out", self.held_out, 0 < self.held_out < 1, "between 0 and 1")
        share = self.short_share
        _require("short_share", share, 0 <= share <= 1, "between 0 and 1")
        patient = self.patience is None or self.patience >= 1
        _require("patience", self.patience, patient, "at least 1, or None")
        known = ("auto", "float32", "bfloat16")
        _require("precision", self.precision, self.precision in known, f"one of {', '.join(known)}")

    def peak(self, start: float) -> float:
        """The learning rate at its peak, for a start whose held-out error is that.

        A close start is soon made worse by steps that a far one wants: Whisper base began at 0.12,
        0.060 and 0.026 and bore 1e-4, 3e-5 and less than 3e-5.
        """
        return min(MOST, start / FAR) if self.learning_rate is None else self.learning_rate


def _require(name: str, value: object, met: bool, rule: str) -> None:
    if not met:
        raise ValueError(f"{name} must be {rule}, got {value}")
