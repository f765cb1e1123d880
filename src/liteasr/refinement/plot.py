"""The curve of a refinement as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from liteasr._optional import require
from liteasr.atomic import atomic_file
from liteasr.refinement_report import RefinementReport

__all__ = ["curve_figure", "plot_curve", "require_picture"]


def require_picture(path: str | os.PathLike[str]) -> str:
    """Check that a picture can be drawn into this file, before the work it shows; its format.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
        ValueError: The file's ending names no format of pictures.
    """
    canvas = require("matplotlib.backend_bases", extra="plots").FigureCanvasBase
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in canvas.get_supported_filetypes():
        raise ValueError(f"{path}: a picture ends in .png, .pdf or .svg")
    return kind


def plot_curve(report: RefinementReport, path: str | os.PathLike[str]) -> None:
    """Draw loss, held-out loss and the decoder's KL by step into a PNG, PDF or SVG file.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
        StorageError: The disk refused.
        ValueError: The file's ending names no format of pictures.
    """
    kind = require_picture(path)
    figure = curve_figure(report)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=kind)


def curve_figure(report: RefinementReport) -> Any:
    """Draw loss, held-out loss and the decoder's KL by step.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(6, 4), layout="tight")
    axes = figure.add_subplot()
    trained = [point for point in report.curve if point.loss is not None]
    axes.plot([p.step for p in trained], [p.loss for p in trained], "--", label="loss")
    axes.plot([p.step for p in report.curve], [p.held_out for p in report.curve], label="held out")
    heard = [point for point in report.curve if point.kl is not None]
    if heard:
        axes.plot(
            [p.step for p in heard], [p.kl for p in heard], ":", label="decoder's KL, held out"
        )
    axes.plot(report.best_step, report.after, "o", label=f"kept: {report.after:.3g}")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    return figure
