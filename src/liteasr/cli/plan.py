"""liteasr plan: moments in, a rank for every layer out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.calibration import Calibration
from liteasr.checkpoint import load_model
from liteasr.cli.options import (
    Json,
    Model,
    MomentsFile,
    Preset,
    Quiet,
    Threads,
    Thresholds,
    rule_of,
    start,
)
from liteasr.cli.tables import plan_table
from liteasr.plan import plan_ranks, spectra_of

__all__ = ["plan_command"]


def plan_command(
    model: Model,
    moments: MomentsFile = Path("moments.safetensors"),
    preset: Preset = None,
    thresholds: Thresholds = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the plan here as JSON.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose a rank for every layer and say why the others stay dense.

    Plans are cheap: try several from one calibration, edit the JSON if you like, and hand it to
    `liteasr compress --plan`.

    Example: liteasr plan whisper-base -m moments.safetensors --thresholds 0.99:0.999 -o plan.json
    """
    rule = rule_of(preset, thresholds)
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    calibration = Calibration.load(moments)
    speech = load_model(model, track=screen.track)
    plan = plan_ranks(speech, spectra_of(speech, calibration, track=screen.track), rule)
    if output is not None:
        plan.save(output)
        screen.note(f"plan written to {output}")
    screen.result(plan.to_dict(), plan_table(plan))
