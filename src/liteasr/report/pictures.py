"""Pictures of a report, as SVG texts that need nothing around them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liteasr._optional import require
from liteasr.evaluation import EvaluationMatrix, pareto_front
from liteasr.plan import LayerPlan, RankPlan
from liteasr.report.contents import Point

__all__ = ["draw_bars", "draw_fronts", "draw_ranks", "draw_spectra", "svg_of"]

COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e")
FULL = 100.0  # percent; rates above are cut off and written out
STYLE = {
    "svg.fonttype": "none",  # letters, not outlines: a tenth of the size, and they can be found
    "svg.hashsalt": "liteasr",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COSTS = {
    "parameters": "encoder parameters (millions)",
    "flops": "encoder GFLOPs for one window",
    "ms": "encoder milliseconds, measured",
}


def figure(width: float, height: float) -> Any:
    """An empty figure of some inches.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    module = require("matplotlib.figure", extra="report")
    return module.Figure(figsize=(width, height), layout="tight")


def svg_of(drawn: Any) -> str:
    """The figure as an ``<svg>`` element, the same for the same figure."""
    matplotlib = require("matplotlib", extra="report")
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        drawn.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]


def draw_fronts(points: Mapping[str, Sequence[Point]], quality: str) -> Any:
    """Quality against each cost, with the Pareto front through the models that none beats."""
    drawn = figure(4.4 * len(points), 3.6)
    for place, (cost, given) in enumerate(points.items(), 1):
        axes = drawn.add_subplot(1, len(points), place)
        methods = list(dict.fromkeys(point.method for point in given))
        scale = 1.0 if quality == "KL" else 100.0
        front = [given[k] for k in pareto_front([(p.cost, p.quality) for p in given])]
        axes.plot([p.cost for p in front], [scale * p.quality for p in front], color="#bbbbbb")
        for method, color in zip(methods, _colors(len(methods)), strict=True):
            mine = [point for point in given if point.method == method]
            values = [scale * point.quality for point in mine]
            errors = [_arms(point, scale) for point in mine]
            axes.errorbar(
                [point.cost for point in mine],
                values,
                yerr=list(zip(*errors, strict=True)),
                fmt="o",
                color=color,
                elinewidth=0.8,
                label=method,
            )
        values = [scale * point.quality for point in given]
        if quality == "KL" or max(values) > 8 * max(min(values), 1e-9):
            axes.set_yscale("symlog", linthresh=max(sorted(values)[len(values) // 4], 1e-3))
        axes.set(xlabel=COSTS[cost], ylabel=quality if quality == "KL" else f"{quality} (%)")
        axes.grid(visible=True, alpha=0.25)
        if place == 1:
            axes.legend(frameon=False)
    return drawn


def draw_ranks(plans: Mapping[str, RankPlan]) -> Any:
    """How much of each layer is left: a panel for each plan, a cell for each layer."""
    columns = min(3, len(plans))
    lines = -(-len(plans) // columns)
    drawn = figure(4.0 * columns, 2.1 * lines)
    for place, (label, plan) in enumerate(plans.items(), 1):
        axes = drawn.add_subplot(lines, columns, place)
        roles, blocks, cells = _grid(plan)
        shares = [[_share(cells.get((role, block))) for block in blocks] for role in roles]
        axes.imshow(shares, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (role, block), layer in cells.items():
            if len(blocks) > 12:
                break
            text = "\u2013" if layer.rank is None else str(layer.rank)
            bright = _share(layer) > 0.6
            axes.text(
                blocks.index(block), roles.index(role), text, ha="center", va="center",
                fontsize=7, color="black" if bright else "white",
            )  # fmt: skip
        axes.set_title(label, fontsize=9)
        axes.set_yticks(range(len(roles)), roles, fontsize=7)
        step = -(-len(blocks) // 12)
        axes.set_xticks(range(0, len(blocks), step), blocks[::step], fontsize=7)
        axes.spines[:].set_visible(False)
    return drawn


def draw_spectra(spectra: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    """Share of the variance by component: a panel for each role, a line for each block."""
    roles: dict[str, list[tuple[int, Sequence[Sequence[float]]]]] = {}
    for name, curve in spectra.items():
        role, block = _place(name)
        roles.setdefault(role, []).append((block, curve))
    columns = min(3, len(roles))
    lines = -(-len(roles) // columns)
    drawn = figure(4.0 * columns, 2.6 * lines)
    colormap = require("matplotlib", extra="report").colormaps["viridis"]
    for place, (role, curves) in enumerate(roles.items(), 1):
        axes = drawn.add_subplot(lines, columns, place)
        last = max(block for block, _ in curves) or 1
        for block, curve in curves:
            axes.loglog(
                [point[0] for point in curve],
                [max(point[1], 1e-12) for point in curve],
                color=colormap(0.9 * block / last),
                linewidth=1,
                label=f"block {block}" if block in (0, last) else None,
            )
        axes.set_title(role, fontsize=9)
        axes.set(xlabel="component", ylabel="share of variance")
        axes.grid(visible=True, alpha=0.25)
    drawn.axes[0].legend(frameon=False)
    return drawn


def draw_bars(matrix: EvaluationMatrix) -> Any:
    """The rate of every model on every corpus, with 95 % intervals; cut off at 100 %."""
    drawn = figure(max(6.0, 1.2 + 1.0 * len(matrix.models) * len(matrix.corpora) / 2), 3.6)
    axes = drawn.add_subplot()
    width = 0.85 / len(matrix.models)
    rows = {
        (row.model, row.corpus): row.score
        for row in matrix.rows()
        if row.score.language == "all" and row.score.interval is not None
    }
    for place, (model, color) in enumerate(
        zip(matrix.models, _colors(len(matrix.models)), strict=True)
    ):
        found = [
            (k, rows[model, corpus])
            for k, corpus in enumerate(matrix.corpora)
            if (model, corpus) in rows
        ]
        rates = [100 * score.counts.rate for _, score in found]
        lows = [rate - 100 * score.interval[0] for rate, (_, score) in _pairs(rates, found)]
        highs = [100 * score.interval[1] - rate for rate, (_, score) in _pairs(rates, found)]
        axes.bar(
            [k + width * (place - (len(matrix.models) - 1) / 2) for k, _ in found],
            rates,
            width=0.92 * width,
            yerr=[[max(0.0, v) for v in lows], [max(0.0, v) for v in highs]],
            error_kw={"elinewidth": 0.8, "ecolor": "#555555"},
            color=color,
            label=model,
        )
        for (k, _), rate in zip(found, rates, strict=True):
            if rate > FULL:
                offset = k + width * (place - (len(matrix.models) - 1) / 2)
                axes.text(offset, FULL, f"{rate:.0f}", fontsize=7, ha="center", va="bottom")
    if max((100 * score.counts.rate for score in rows.values()), default=0) > FULL:
        axes.set_ylim(0, 1.15 * FULL)  # one loop would flatten all other bars
    axes.set_xticks(range(len(matrix.corpora)), matrix.corpora)
    axes.set(ylabel="error rate (%)")
    axes.grid(visible=True, axis="y", alpha=0.25)
    axes.legend(frameon=False, fontsize=7, ncols=2)
    return drawn


def _pairs(rates: Sequence[float], found: Sequence[Any]) -> Any:
    return zip(rates, found, strict=True)


def _colors(count: int) -> list[str]:
    return [COLORS[place % len(COLORS)] for place in range(count)]


def _arms(point: Point, scale: float) -> tuple[float, float]:
    low, high = point.interval or (point.quality, point.quality)
    return max(0.0, scale * (point.quality - low)), max(0.0, scale * (high - point.quality))


def _place(name: str) -> tuple[str, int]:
    """Role and block of a layer: ``layers.3.self_attn.q_proj`` is q_proj in block 3."""
    numbers = re.findall(r"\.(\d+)\.", f".{name}.")
    return name.rsplit(".", 1)[-1], int(numbers[0]) if numbers else 0


def _grid(plan: RankPlan) -> tuple[list[str], list[int], dict[tuple[str, int], LayerPlan]]:
    cells = {_place(layer.name): layer for layer in plan}
    roles = list(dict.fromkeys(role for role, _ in cells))
    blocks = sorted({block for _, block in cells})
    return roles, blocks, cells


def _share(layer: LayerPlan | None) -> float:
    """Parameters that are left of a layer; nothing where there is no layer."""
    if layer is None:
        return float("nan")
    return layer.parameters / (layer.in_features * layer.out_features)
