"""liteasr refine: learn back without labels what the closed form lost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from liteasr.artefacts import refinement_state_file
from liteasr.atomic import require_writable
from liteasr.checkpoint import load, require_place
from liteasr.cli.options import Audio, Device, Json, Quiet, Samples, Seed, Threads, start
from liteasr.cli.tables import refinement_line, size_line
from liteasr.refinement import RefinementConfig, plot_curve, require_picture
from liteasr.workflow import refine

__all__ = ["refine_command"]

DEFAULT = RefinementConfig()


def refine_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A checkpoint made by `liteasr compress`.", show_default=False),
    ],
    audio: Audio,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory of the refined checkpoint.")
    ],
    original: Annotated[
        str | None,
        typer.Option(help="The model it was made from, where it lies elsewhere now."),
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Updates of all weights.")] = DEFAULT.steps,
    mlp_steps: Annotated[
        int, typer.Option(min=0, help="Before them, updates of every reduced MLP alone.")
    ] = DEFAULT.mlp_steps,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Windows of audio per update.")
    ] = DEFAULT.batch_size,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak of the learning rate; less the closer the start is if left out."),
    ] = DEFAULT.learning_rate,
    short_share: Annotated[
        float,
        typer.Option(
            help="Share of the updates on windows cut short: 0.5 halves the time, and is what a "
            "smaller --context of `liteasr transcribe` needs."
        ),
    ] = DEFAULT.short_share,
    divergence_weight: Annotated[
        float,
        typer.Option(help="Weight of the decoder's divergence; 0 leaves the decoder out."),
    ] = DEFAULT.divergence_weight,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after that many checks without a gain.")
    ] = None,
    samples: Samples = None,
    seed: Seed = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curve into this .png, .pdf or .svg file.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing checkpoint.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a compressed encoder to say what the original says, without labels.

    Any speech like the speech you will transcribe will do; more of it is better. Ctrl-C is safe:
    run the same command again and it goes on where it stopped. What comes out is never worse
    than what went in, as measured on a part of the audio that is held out.

    Example: liteasr refine whisper-base-lite --audio recordings/ -o whisper-base-refined
    """
    require_place(output, overwrite=overwrite)  # now, not after the work
    require_writable(output, folder=True)
    try:
        if plot is not None:
            require_picture(plot)
            require_writable(plot)
        config = RefinementConfig(
            steps=steps,
            mlp_steps=mlp_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            short_share=short_share,
            divergence_weight=divergence_weight,
            patience=patience,
            seed=seed,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    refined = refine(
        load(checkpoint, device=device),
        audio=audio,
        original=original,
        config=config,
        state=refinement_state_file(output),
        samples=samples,
        seed=seed,
        track=screen.track,
    )
    refined.save(output, overwrite=overwrite)
    report = refined.refinement
    assert report is not None
    if plot is not None:
        plot_curve(report, plot)
    screen.result(
        {"checkpoint": str(output), **asdict(refined.report), "refinement": report.to_dict()},
        f"{output}: {size_line(refined.report)}; {refinement_line(report)}",
    )
