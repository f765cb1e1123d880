"""What a decoder may not say: Whisper's suppressed tokens, and its rules for timestamps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

__all__ = ["TokenRules", "log_sum_exp"]

NEVER = np.float32(-np.inf)


class TokenRules:
    """Takes back logits, as CTranslate2 and openai/whisper do.

    Args:
        end: ``<|endoftext|>``; text tokens come before it.
        no_timestamps: ``<|notimestamps|>``; timestamps come after it, to the end of the vocabulary.
        suppressed: Tokens that are never said.
        suppressed_first: Tokens that are not said first, the end among them.
        timestamps: Whether times are said.
        latest_first: How many steps of 20 ms into the window the first one may be, at most.

    Source: ``SuppressBlank``, ``SuppressTokens`` and ``ApplyTimestampRules`` of openai/whisper.
    """

    def __init__(
        self,
        *,
        end: int,
        no_timestamps: int,
        suppressed: Sequence[int] = (),
        suppressed_first: Sequence[int] = (),
        timestamps: bool = False,
        latest_first: int = 50,
    ) -> None:
        self.end = end
        self.first_time = no_timestamps + 1
        never = [*suppressed, *([no_timestamps] if timestamps else [])]
        self.suppressed = np.array(never, np.int64)
        self.suppressed_first = np.array(suppressed_first, np.int64)
        self.timestamps = timestamps
        self.latest_first = latest_first

    def apply_(self, logits: Float32[np.ndarray, "vocabulary"], said: Sequence[int]) -> None:
        """Take back, in place, what may not follow the tokens said so far."""
        logits[self.suppressed] = NEVER
        if not said:
            logits[self.suppressed_first] = NEVER
        if not self.timestamps:
            return
        times = self.first_time
        if not said:
            logits[:times] = NEVER
            logits[times + self.latest_first + 1 :] = NEVER
            return
        if latest := _last_time(said, times):  # times do not go back, and segments take some
            logits[times : latest if said[-1] >= times else latest + 1] = NEVER
        if said[-1] >= times:
            if len(said) == 1 or said[-2] >= times:  # a pair, or the first: text follows
                logits[times:] = NEVER
                return
            logits[: self.end] = NEVER  # a pair, or the end
        if log_sum_exp(logits[times:]) > logits[:times].max():
            logits[:times] = NEVER


def _last_time(said: Sequence[int], first: int) -> int:
    return next((token for token in reversed(said) if token >= first), 0)


def log_sum_exp(logits: Float32[np.ndarray, "tokens"]) -> float:
    """Logarithm of Σ exp(logits); minus infinity where all of them are taken back."""
    largest = logits.max()
    if not np.isfinite(largest):
        return -np.inf
    return float(largest + np.log(np.exp(logits - largest).sum()))
