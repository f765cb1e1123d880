"""Context fitting: encode the positions that the audio needs, and more where the text loops."""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias

from liteasr.runtime.encoding import FRAMES_PER_POSITION

__all__ = [
    "SAFE_MARGIN",
    "ContextChoice",
    "check_context",
    "compression_ratio",
    "fitted_positions",
    "is_loop",
    "longer_context",
    "margin_of",
]

ContextChoice: TypeAlias = int | Literal["auto", "off"]

SAFE_MARGIN = 512  # positions; less costs words without a refinement for short windows

REPETITIVE = 2.4  # openai/whisper's threshold


def check_context(context: ContextChoice) -> None:
    """Refuse what is no choice.

    Raises:
        ValueError: The context is neither ``auto``, ``off`` nor a number of positions from 0 on.
    """
    if context in ("auto", "off"):
        return
    if not isinstance(context, int) or isinstance(context, bool) or context < 0:
        raise ValueError(
            "context must be 'auto', 'off' or positions after the end of the audio "
            f"(50 a second, at least 0), got {context!r}"
        )


def margin_of(context: ContextChoice) -> int | None:
    """Give the positions kept after the end of the audio; None keeps the whole window."""
    if context == "off":
        return None
    return SAFE_MARGIN if context == "auto" else context


def fitted_positions(frames: int, *, margin: int | None, full: int) -> int:
    """Give the positions to encode: min(full, ⌈frames / 2⌉ + margin), and at least one.

    Self-attention then costs (positions / full)² of a full window and everything else
    positions / full. The decoder attends over less silence than it was trained with, which in
    rare cases makes it miss the end of the text: see `is_loop`.

    Args:
        frames: Mel frames of the window that hold audio, 10 ms each.
        margin: Positions to keep after them, 20 ms each; None for all.
        full: Positions of a full window.
    """
    if margin is None:
        return full
    return max(1, min(full, -(-frames // FRAMES_PER_POSITION) + margin))


def longer_context(positions: int, *, full: int) -> int:
    """Give the context that is tried after one that failed: twice as long, in the end full."""
    return min(full, 2 * positions)


def is_loop(text: str, *, tokens: int, room: int | None) -> bool:
    """Say whether a decoding missed the end of the text.

    Args:
        text: What was decoded.
        tokens: How many tokens that took.
        room: Tokens that the decoder has room for; None where a caller set a limit of his own,
            which may be met by sound text.
    """
    return compression_ratio(text) > REPETITIVE or (room is not None and tokens >= room)


def compression_ratio(text: str) -> float:
    """Give the bytes of a text over its bytes after zlib; above 2.4 it repeats itself."""
    data = text.strip().encode()
    return len(data) / len(zlib.compress(data))
