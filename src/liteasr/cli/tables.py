"""Values as Rich tables."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from liteasr.compression import CompressionReport
from liteasr.plan import RankPlan
from liteasr.refinement_report import RefinementReport

__all__ = ["latency_line", "plan_table", "refinement_line", "size_line"]

UNSAID = ("version", "latency")  # of a plan's options: the second has a line of its own


def plan_table(plan: RankPlan) -> Table:
    """One row per layer, with the reason for its form."""
    kept = plan.parameters / plan.dense_parameters
    options = ", ".join(f"{k} {v}" for k, v in plan.options.items() if k not in UNSAID)
    table = Table(
        title=f"{plan.model}: rule {plan.rule} ({options})",
        caption=f"target weights {plan.dense_parameters / 1e6:.2f} M -> "
        f"{plan.parameters / 1e6:.2f} M ({kept:.1%})",
        box=SIMPLE_HEAD,
    )
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    for heading in ("rank", "variance"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reason")
    for layer in plan:
        dense = layer.rank is None
        table.add_row(
            layer.name,
            f"{layer.in_features} -> {layer.out_features}",
            "dense" if dense else str(layer.rank),
            "" if dense else f"{layer.explained:.3%}",
            layer.reason,
            style="dim" if dense else None,
        )
    return table


def latency_line(plan: RankPlan) -> str | None:
    """What a budget of time is expected to reach, in one line; None for other rules."""
    if (promise := plan.options.get("latency")) is None:
        return None
    dense, expected = promise["dense_ms"], promise["expected_ms"]
    return (
        f"encoder {dense:.1f} ms -> {expected:.1f} ms expected ({dense / expected:.2f} times as "
        f"fast) on {promise['device']}, threads: {promise['threads']}"
    )


def size_line(report: CompressionReport) -> str:
    """The encoder's size before and after, in one line."""
    return (
        f"encoder {report.parameters_before / 1e6:.2f} M -> {report.parameters_after / 1e6:.2f} M "
        f"parameters ({report.kept:.1%}); {report.replaced} layers reduced, "
        f"{report.dense} left dense"
    )


def refinement_line(report: RefinementReport) -> str:
    """What refinement brought, in one line."""
    return (
        f"loss on held-out audio {report.before:.3g} -> {report.after:.3g} "
        f"(step {report.best_step} of {report.steps}, {report.seconds / 60:.1f} min)"
    )
