"""liteasr plan: moments in, a rank for every layer out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.artefacts import find_plan, find_spectra_for
from liteasr.calibration import Calibration
from liteasr.cli.options import Device, Json, Model, Quiet, Threads, start
from liteasr.cli.plan_options import (
    Encoder,
    Flops,
    Keep,
    MomentsFile,
    Pattern,
    PoolFrom,
    Preset,
    Speedup,
    Thresholds,
    open_model,
    require_probe,
    rule_of,
)
from liteasr.cli.tables import latency_line, plan_table
from liteasr.corpus import load_corpus

__all__ = ["plan_command"]


def plan_command(
    model: Model,
    moments: MomentsFile = Path("moments.safetensors"),
    keep: Keep = None,
    flops: Flops = None,
    speedup: Speedup = None,
    preset: Preset = None,
    thresholds: Thresholds = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(
            "--audio", help="Speech to probe layers with, the first time a budget is used."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the plan here as JSON.")
    ] = None,
    pool_from: PoolFrom = None,
    encoder: Encoder = None,
    pattern: Pattern = "",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose a rank for every layer and say why the others stay dense.

    Plans are cheap: try several from one calibration, edit the JSON if you like, and hand it to
    `liteasr compress --plan`.

    Example: liteasr plan whisper-base -m moments.safetensors --audio recordings/ --keep 0.5
    """
    rule = rule_of(keep, flops, speedup, preset, thresholds)
    require_probe(rule, audio, moments)
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    calibration = Calibration.load(moments)
    speech = open_model(
        model, encoder, pattern, device=device, pool_from=pool_from, track=screen.track
    )
    spectra = find_spectra_for(rule, speech, calibration, moments, track=screen.track)
    corpus = None if audio is None else load_corpus(audio)
    plan = find_plan(speech, calibration, spectra, rule, corpus, moments, track=screen.track)
    if (promise := latency_line(plan)) is not None:
        screen.note(promise)
    if output is not None:
        plan.save(output)
        screen.note(f"plan written to {output}")
    screen.result(plan.to_dict(), plan_table(plan))
