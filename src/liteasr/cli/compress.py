"""liteasr compress: from recordings to a smaller model in one go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from liteasr.atomic import require_free
from liteasr.cli.options import (
    Frames,
    Json,
    Keep,
    Model,
    Preset,
    Quiet,
    Samples,
    Seed,
    Threads,
    Thresholds,
    rule_of,
    start,
)
from liteasr.cli.tables import plan_table, size_line
from liteasr.plan import RankPlan
from liteasr.workflow import compress, sensitivity_file

__all__ = ["compress_command"]


def compress_command(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory of the new checkpoint.")
    ],
    audio: Annotated[
        list[str] | None,
        typer.Option(
            "--audio",
            help="Unlabelled speech, as for `liteasr calibrate`. Not needed when --moments "
            "names a finished calibration.",
        ),
    ] = None,
    moments: Annotated[
        Path | None,
        typer.Option("--moments", "-m", help="Keep the calibration here, and find it again."),
    ] = None,
    keep: Keep = None,
    preset: Preset = None,
    thresholds: Thresholds = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Use this plan in place of a rule.")
    ] = None,
    frames: Frames = "all",
    samples: Samples = None,
    seed: Seed = 0,
    layout: Annotated[
        Literal["liteasr", "lite-whisper"],
        typer.Option(help="Our layout, or that of the published efficient-speech models."),
    ] = "liteasr",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing checkpoint.")] = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Calibrate, plan and compress, and write a checkpoint.

    Example: liteasr compress whisper-base --audio recordings/ -o whisper-base-lite
    """
    if audio is None and moments is None:
        raise typer.BadParameter("give --audio, or --moments made before")
    if plan is not None and any(choice is not None for choice in (keep, preset, thresholds)):
        raise typer.BadParameter("give --plan or a rule, not both")
    if keep is not None and audio is None and not sensitivity_file(moments or "").is_file():
        raise typer.BadParameter("--keep probes the layers once: give --audio")
    if not overwrite:
        require_free(output)  # now, not after the work
    rule = rule_of(keep, preset, thresholds) if plan is None else None
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    lite = compress(
        model,
        audio=audio,
        config=rule,
        plan=None if plan is None else RankPlan.load(plan),
        moments=moments,
        frames=frames,
        samples=samples,
        seed=seed,
        track=screen.track,
    )
    lite.save(output, layout=layout, overwrite=overwrite)
    if not as_json and not quiet:
        screen.err.print(plan_table(lite.plan))
    screen.result(
        {"checkpoint": str(output), **asdict(lite.report), "kept": lite.report.kept},
        f"{output}: {size_line(lite.report)}",
    )
