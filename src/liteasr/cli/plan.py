"""liteasr plan: moments in, a rank for every layer out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.calibration import Calibration
from liteasr.checkpoint import load_model
from liteasr.cli.options import (
    Json,
    Keep,
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
from liteasr.corpus import load_corpus
from liteasr.plan import plan_ranks, spectra_of
from liteasr.workflow import find_sensitivity, sensitivity_file

__all__ = ["plan_command"]


def plan_command(
    model: Model,
    moments: MomentsFile = Path("moments.safetensors"),
    keep: Keep = None,
    preset: Preset = None,
    thresholds: Thresholds = None,
    audio: Annotated[
        list[str] | None,
        typer.Option("--audio", help="Speech to probe layers with, the first time --keep is used."),
    ] = None,
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
    rule = rule_of(keep, preset, thresholds)
    if keep is not None and audio is None and not sensitivity_file(moments).is_file():
        raise typer.BadParameter("--keep probes the layers once: give --audio")
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    calibration = Calibration.load(moments)
    speech = load_model(model, track=screen.track)
    spectra = spectra_of(speech, calibration, track=screen.track)
    weights = None
    if keep is not None:
        corpus = None if audio is None else load_corpus(audio)
        weights = find_sensitivity(speech, spectra, corpus, moments, track=screen.track)
    plan = plan_ranks(speech, spectra, rule, sensitivity=weights)
    if output is not None:
        plan.save(output)
        screen.note(f"plan written to {output}")
    screen.result(plan.to_dict(), plan_table(plan))
