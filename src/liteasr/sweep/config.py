"""Which models a sweep makes."""

from __future__ import annotations

from dataclasses import dataclass

from liteasr.refinement import RefinementConfig
from liteasr.sweep.methods import METHODS, Method

__all__ = ["SweepConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """Which models a sweep makes.

    Attributes:
        keep: Shares of the encoder's parameters.
        methods: Ways of choosing ranks.
        refinement: Settings for the method ``refined``.
        divergence_clips: Held-out clips at most that divergences are measured on.
        version: Version of this format.
    """

    keep: tuple[float, ...] = (0.85, 0.7, 0.5)
    methods: tuple[Method, ...] = ("paper", "budget", "joint", "units")
    refinement: RefinementConfig | None = None
    divergence_clips: int = 60
    version: int = 1

    def __post_init__(self) -> None:
        if not self.keep or any(not 0.0 < share <= 1.0 for share in self.keep):
            raise ValueError(f"keep must hold shares in (0, 1], got {self.keep}")
        if not self.methods or not set(self.methods) <= set(METHODS):
            raise ValueError(f"methods must be some of {', '.join(METHODS)}, got {self.methods}")
        if self.divergence_clips < 1:
            raise ValueError(f"divergence_clips must be at least 1, got {self.divergence_clips}")
