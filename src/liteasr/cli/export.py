"""liteasr export: a model in a form that runs without liteasr."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from liteasr.atomic import require_free, require_writable
from liteasr.checkpoint import is_checkpoint, load, load_model
from liteasr.cli.options import Json, Model, Quiet, Threads, start
from liteasr.export import (
    Agreement,
    Precision,
    export_ctranslate2,
    export_dense,
    export_onnx,
)

__all__ = ["export_command"]


def export_command(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the export.")],
    to: Annotated[
        Literal["onnx", "dense", "ctranslate2"],
        typer.Option(
            "--to",
            help="onnx: encoder with its factors and decoder, for ONNX Runtime, transformers.js, "
            "optimum or onnx-asr. dense: merged back to full matrices, an ordinary Hugging Face "
            "directory, as slow as before. ctranslate2: the same for faster-whisper.",
        ),
    ] = "onnx",
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Weights and activations in int8: a quarter of the size."),
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model for other runtimes, compared with the original before it appears.

    Example: liteasr export whisper-base-lite --to onnx --int8 -o whisper-base-lite-onnx
    """
    if int8 and to == "dense":
        raise typer.BadParameter("--int8 is for --to onnx and --to ctranslate2")
    require_free(output)  # now, not after the work
    require_writable(output, folder=True)
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    plan = None
    if is_checkpoint(Path(model)):
        compressed = load(model)
        speech, plan = compressed.speech, compressed.plan
    else:
        speech = load_model(model, track=screen.track)
    precision: Precision = "int8" if int8 else "float32"
    if to != "onnx":
        agreement = (
            export_dense(speech, output)
            if to == "dense"
            else export_ctranslate2(speech, output, quantization=precision)
        )
        screen.result(
            {"directory": str(output), "encoder": asdict(agreement)},
            f"{output}: {to}; encoder {_line(agreement)}",
        )
        return
    made = export_onnx(speech, output, precision=precision, plan=plan)
    value = {**asdict(made), "directory": str(output)}
    screen.result(
        value,
        f"{output}: {made.description.precision}, {made.bytes / 1e6:.1f} MB; "
        f"encoder {_line(made.encoder)}; decoder {_line(made.decoder)}",
    )


def _line(agreement: Agreement) -> str:
    return f"relative error {agreement.relative:.2g} (largest {agreement.largest:.2g})"
