"""liteasr compress: from recordings to a smaller model in one go."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from liteasr.artefacts import refinement_state_file
from liteasr.atomic import require_writable
from liteasr.checkpoint import require_chains, require_place
from liteasr.cli.options import Device, Json, Model, Quiet, Samples, Seed, Threads, start
from liteasr.cli.plan_options import (
    Encoder,
    Flops,
    Frames,
    Keep,
    Pattern,
    PoolFrom,
    Preset,
    Speedup,
    Thresholds,
    Units,
    open_model,
    require_probe,
    rule_of,
)
from liteasr.cli.tables import latency_line, plan_table, refinement_line, size_line
from liteasr.plan import BudgetConfig, RankPlan
from liteasr.refinement import RefinementConfig
from liteasr.workflow import compress

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
    flops: Flops = None,
    speedup: Speedup = None,
    preset: Preset = None,
    thresholds: Thresholds = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Use this plan in place of a rule.")
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Train the reduced encoder without labels afterwards: an hour or so, and the "
            "largest gain of all. `liteasr refine` does the same later.",
        ),
    ] = False,
    frames: Frames = "balanced",
    units: Units = None,
    samples: Samples = None,
    seed: Seed = 0,
    layout: Annotated[
        Literal["liteasr", "lite-whisper"],
        typer.Option(help="Our layout, or that of the published efficient-speech models."),
    ] = "liteasr",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing checkpoint.")] = False,
    pool_from: PoolFrom = None,
    encoder: Encoder = None,
    pattern: Pattern = "",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Calibrate, plan and compress, and write a checkpoint.

    Example: liteasr compress whisper-base --audio recordings/ -o whisper-base-lite
    """
    if audio is None and moments is None:
        raise typer.BadParameter("give --audio, or --moments made before")
    if refine and audio is None:
        raise typer.BadParameter("--refine trains on audio: give --audio")
    rules = (keep, flops, speedup, preset, thresholds)
    if plan is not None and any(choice is not None for choice in rules):
        raise typer.BadParameter("give --plan or a rule, not both")
    if plan is not None and pool_from is not None:
        raise typer.BadParameter("a plan says where positions are pooled: leave --pool-from out")
    require_place(output, overwrite=overwrite)  # now, not after the work
    require_writable(output, folder=True)
    rule = rule_of(*rules) if plan is None else None
    if isinstance(rule, BudgetConfig) and layout == "lite-whisper":  # which knows plain chains only
        rule = replace(rule, joint=False, units=False, convolutions=False, pivots=False)
    require_probe(rule, audio, moments)
    given = None if plan is None else RankPlan.load(plan)
    if given is not None and layout == "lite-whisper":
        require_chains(given)
    if pool_from is not None and layout == "lite-whisper":
        raise typer.BadParameter("--layout lite-whisper does not know pooled positions")
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    lite = compress(
        open_model(model, encoder, pattern, device=device, track=screen.track),
        audio=audio,
        config=rule,
        plan=given,
        moments=moments,
        refinement=RefinementConfig(seed=seed) if refine else None,
        state=refinement_state_file(output),
        frames=frames,
        units=units,
        pool_from=pool_from,
        samples=samples,
        seed=seed,
        track=screen.track,
    )
    lite.save(output, layout=layout, overwrite=overwrite)
    if not as_json and not quiet:
        screen.err.print(plan_table(lite.plan))
    value = {"checkpoint": str(output), **asdict(lite.report), "kept": lite.report.kept}
    if (promise := latency_line(lite.plan)) is not None:
        screen.note(promise)
        value["latency"] = lite.plan.options["latency"]
    shown = f"{output}: {size_line(lite.report)}"
    if lite.refinement is not None:
        value["refinement"] = lite.refinement.to_dict()
        shown += f"; {refinement_line(lite.refinement)}"
    screen.result(value, shown)
