"""liteasr inspect: which layers an encoder has, what they cost, and where a chain pays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from liteasr.calibration import Calibration
from liteasr.cli.options import Json, Model, Quiet, start
from liteasr.cli.plan_options import Encoder, Pattern, open_model
from liteasr.plan import Anatomy, anatomy_of, spectra_of

__all__ = ["anatomy_table", "inspect_command"]


def inspect_command(
    model: Model,
    moments: Annotated[
        Path | None,
        typer.Option(
            "--moments", "-m", help="A calibration of this model: adds the effective ranks."
        ),
    ] = None,
    encoder: Encoder = None,
    pattern: Pattern = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the layers of an encoder that may be reduced.

    The break-even rank is the one from which two factors cost more than the layer. The effective
    rank is exp of the entropy of the output's spectrum: how many directions it really uses.

    Example: liteasr inspect whisper-base -m moments.safetensors
    """
    screen = start(quiet=quiet, as_json=as_json)
    calibration = None if moments is None else Calibration.load(moments)
    speech = open_model(model, encoder, pattern, track=screen.track)
    spectra = None
    if calibration is not None:
        spectra = spectra_of(speech, calibration, units=False, weighed=False, track=screen.track)
    found = anatomy_of(speech, spectra)
    screen.result(found.to_dict(), anatomy_table(found))


def anatomy_table(anatomy: Anatomy) -> Table:
    """One row per layer, and the whole encoder below."""
    reducible = sum(layer.parameters for layer in anatomy.layers) / anatomy.parameters
    scores = sum(anatomy.joint.values())
    table = Table(
        title=f"{anatomy.model}: {anatomy.architecture}, windows of {anatomy.window_s:g} s, "
        f"{anatomy.positions} positions",
        caption=f"encoder {anatomy.parameters / 1e6:.2f} M parameters, {reducible:.1%} of them in "
        f"these layers; {anatomy.flops / 1e9:.2f} GFLOP a window; attentions by head: "
        f"{len(anatomy.joint)} for values, {scores} for scores; MLPs by unit: {len(anatomy.units)}",
        box=SIMPLE_HEAD,
    )
    table.add_column("layer", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    measured = any(layer.effective_rank is not None for layer in anatomy.layers)
    headings = ["parameters", "MFLOP", "break-even", *(["effective rank"] if measured else [])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in anatomy.layers:
        cells = [f"{layer.parameters:,}", f"{layer.flops / 1e6:.1f}", f"{layer.break_even:.0f}"]
        if layer.effective_rank is not None:
            cells.append(f"{layer.effective_rank:.1f}")
        shape = f"{layer.in_features} -> {layer.out_features}"
        table.add_row(layer.name, layer.kind, shape, *cells)
    return table
