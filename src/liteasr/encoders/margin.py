"""How much silence an encoder needs after the end of the audio, as its model notes it."""

from __future__ import annotations

from typing import Any

__all__ = ["CONTEXT_MARGIN", "SAFE_MARGIN", "note_learned_margin_", "safe_margin"]

SAFE_MARGIN = 512  # positions; less costs words without a refinement for short windows
LEARNED_MARGIN = 64  # is enough after one
CONTEXT_MARGIN = "context_margin"  # the key in the configuration


def safe_margin(config: Any) -> int:
    """Positions after the end of the audio without which words suffer, for this model."""
    return int(getattr(config, CONTEXT_MARGIN, SAFE_MARGIN))


def note_learned_margin_(config: Any) -> None:
    """Note that a model was refined for short windows."""
    setattr(config, CONTEXT_MARGIN, LEARNED_MARGIN)
