"""The paper's rule: one share of explained variance for attention, one for the MLPs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from liteasr.encoders import Target
from liteasr.lowrank import Spectrum, break_even_rank, rank_for_share
from liteasr.plan.rank_plan import LayerPlan

__all__ = ["PRESETS", "ThresholdConfig", "plan_by_threshold"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdConfig:
    """How much variance each group of layers keeps.

    Attributes:
        attention: Share of explained variance θ for q, k, v and out, in (0, 1].
        mlp: The same for fc1 and fc2.
        multiple_of: Ranks are multiples of this.
        version: Version of this format.
    """

    attention: float = 0.99
    mlp: float = 0.999
    multiple_of: int = 16
    version: int = 1

    def __post_init__(self) -> None:
        for name in ("attention", "mlp"):
            if not 0.0 < (share := getattr(self, name)) <= 1.0:
                raise ValueError(f"{name} must be in (0, 1], got {share}")
        if self.multiple_of < 1:
            raise ValueError(f"multiple_of must be at least 1, got {self.multiple_of}")

    @classmethod
    def parse(cls, text: str) -> ThresholdConfig:
        """Read ``0.99:0.999`` (attention:MLP), the notation of the public code.

        Raises:
            ValueError: The text is not two shares with a colon between.
        """
        try:
            attention, mlp = (float(part) for part in text.split(":"))
        except ValueError:
            raise ValueError(
                f"thresholds are written ATTENTION:MLP, such as 0.99:0.999, got {text!r}"
            ) from None
        return cls(attention=attention, mlp=mlp)


# The published thresholds are not recorded anywhere, but the published ranks vary in attention
# only. On Whisper base `plain` and `fast` give about the published 17.44 M and 16.07 M.
PRESETS: Mapping[str, ThresholdConfig] = {
    "acc": ThresholdConfig(attention=0.999, mlp=0.999),
    "plain": ThresholdConfig(attention=0.995, mlp=0.999),
    "fast": ThresholdConfig(attention=0.982, mlp=0.999),
}


def plan_by_threshold(
    targets: Iterable[Target], spectra: Mapping[str, Spectrum], config: ThresholdConfig
) -> tuple[LayerPlan, ...]:
    """Choose each layer's rank on its own, from its own spectrum.

    A layer stays dense where two factors would not be smaller (rank ≥ in·out/(in+out)) or
    where no rank keeps the share.

    Reference: LiteASR (arXiv:2502.20583), section 3.
    """
    return tuple(_decide(target, spectra[target.name], config) for target in targets)


def _decide(target: Target, spectrum: Spectrum, config: ThresholdConfig) -> LayerPlan:
    share = config.attention if target.group == "attention" else config.mlp
    rank = rank_for_share(spectrum.variances, share, multiple_of=config.multiple_of)
    limit = break_even_rank(target.in_features, target.out_features)
    if rank is None:
        chosen, reason = None, f"no multiple of {config.multiple_of} keeps more than {share:g}"
    elif rank >= limit:
        chosen, reason = None, f"rank {rank} >= break-even {limit:g}"
    else:
        chosen, reason = rank, f"keeps more than {share:g}"
    return LayerPlan.of(
        target,
        "dense" if chosen is None else "chain",
        chosen,
        reason=reason,
        explained=1.0 if chosen is None else spectrum.explained(chosen),
    )
