"""Which rule chooses the ranks, from what a user said."""

from __future__ import annotations

from liteasr.plan.budget import BudgetConfig
from liteasr.plan.rank_plan import RankPlan
from liteasr.plan.threshold import PRESETS, ThresholdConfig

__all__ = ["DEFAULT_KEEP", "rule_from", "uses_readings", "uses_units"]

DEFAULT_KEEP = 0.7


def rule_from(
    *,
    keep: float | None = None,
    flops: float | None = None,
    speedup: float | None = None,
    preset: str | None = None,
    config: ThresholdConfig | BudgetConfig | None = None,
) -> ThresholdConfig | BudgetConfig:
    """The one rule that was named, or a budget of `DEFAULT_KEEP` where none was.

    Args:
        keep: Share of the encoder's parameters to keep.
        flops: Share of its FLOPs to keep.
        speedup: How many times as fast it shall be, by latencies measured on this machine.
        preset: Name of the paper's thresholds, ready made.
        config: A rule with its settings.

    Raises:
        ValueError: More than one is named, or one is out of range.
    """
    named = {
        "keep": keep,
        "flops": flops,
        "speedup": speedup,
        "preset": preset,
        "config": config,
    }
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise ValueError(
            f"give one of keep, flops, speedup, preset and config, not {' and '.join(given)}"
        )
    if config is not None:
        return config
    if preset is not None:
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        return PRESETS[preset]
    if speedup is not None:
        if not 1.0 <= speedup < float("inf"):
            raise ValueError(f"speedup must be at least 1, got {speedup}")
        return BudgetConfig(keep=1 / speedup, unit="latency")
    if flops is not None:
        return BudgetConfig(keep=flops, unit="flops")
    return BudgetConfig(keep=DEFAULT_KEEP if keep is None else keep)


def uses_units(chosen: ThresholdConfig | BudgetConfig | RankPlan) -> bool:
    """Whether a plan has MLPs that lose hidden units, or a rule may make such a plan."""
    if isinstance(chosen, RankPlan):
        return any(layer.by_unit for layer in chosen)
    return isinstance(chosen, BudgetConfig) and chosen.units


def uses_readings(chosen: ThresholdConfig | BudgetConfig | RankPlan) -> bool:
    """Whether a plan was made, or a rule makes plans, from weighed errors of layers."""
    if isinstance(chosen, RankPlan):
        return bool(chosen.options.get("weighed", False))
    return isinstance(chosen, BudgetConfig) and chosen.weighed
