"""liteasr transcribe: recordings in, text out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.atomic import write_text
from liteasr.cli.options import Device, Json, Quiet, Threads, refuse_collisions, start
from liteasr.cli.runtime_options import (
    BatchSize,
    ComputeType,
    Context,
    EncoderName,
    Pooling,
    Runtime,
    Streams,
    open_transcriber,
    parse_context,
    parse_pooling,
)
from liteasr.cli.screen import Screen
from liteasr.errors import LiteASRError
from liteasr.runtime import TranscriptionOptions
from liteasr.transcript import FORMATS, Transcript, write

__all__ = ["transcribe_command"]


def transcribe_command(
    audio: Annotated[
        list[Path], typer.Argument(help="Recordings of any length.", show_default=False)
    ],
    model: Annotated[
        str, typer.Option("--model", help="What `liteasr compress` wrote, or any model it takes.")
    ] = "whisper-base",
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--output_dir", "-o", help="Write files here."),
    ] = None,
    output_format: Annotated[
        str,
        typer.Option(
            "--output-format",
            "--output_format",
            "-f",
            help=f"{', '.join(sorted(FORMATS))} or all.",
        ),
    ] = "txt",
    language: Annotated[
        str | None, typer.Option(help="Code or English name. [default: detected]")
    ] = None,
    task: Annotated[str, typer.Option(help="transcribe, or translate into English.")] = (
        "transcribe"
    ),
    beam_size: Annotated[int, typer.Option("--beam-size", "--beam_size", min=1)] = 1,
    initial_prompt: Annotated[
        str | None,
        typer.Option("--initial-prompt", "--initial_prompt", help="Spelling of names, style."),
    ] = None,
    condition_on_previous_text: Annotated[
        bool,
        typer.Option(
            "--condition-on-previous-text/--no-condition-on-previous-text",
            help="Show each window the text before it.",
        ),
    ] = False,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", "--word_timestamps", help="Times of words.")
    ] = False,
    context: Context = "auto",
    pooling: Pooling = "auto",
    runtime: Runtime = "auto",
    encoder: EncoderName = "auto",
    compute_type: ComputeType = "auto",
    batch_size: BatchSize = None,
    streams: Streams = 1,
    device: Device = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Transcribe recordings to the screen, or to files with --output-dir.

    A recording that cannot be transcribed is reported, the others are done, and the exit code is 1.

    Example: liteasr transcribe talk.mp3 --model whisper-base-lite -o . -f srt
    """
    formats = sorted(FORMATS) if output_format == "all" else [output_format]
    if unknown := [name for name in formats if name not in FORMATS]:
        raise typer.BadParameter(
            f"--output-format must be one of {', '.join(sorted(FORMATS))} or all, "
            f"got {unknown[0]!r}"
        )
    if output_format == "all" and output_dir is None:
        raise typer.BadParameter("--output-format all needs --output-dir")
    if output_dir is not None:
        refuse_collisions((path, f"{path.stem}.{formats[0]}") for path in audio)
    try:
        options = TranscriptionOptions(
            language=language,
            task=task,
            beam_size=beam_size,
            initial_prompt=initial_prompt,
            condition_on_previous_text=condition_on_previous_text,
            word_timestamps=word_timestamps,
            context=parse_context(context),
            pooling=parse_pooling(pooling),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    transcriber = open_transcriber(
        model, runtime, encoder, compute_type, batch_size, device, screen, streams
    )
    made = []
    for path in screen.track(audio, description="Transcribing", total=len(audio)):
        try:
            transcript = transcriber.transcribe(path, options)
            _give(screen, path, transcript, formats, output_dir)
        except LiteASRError as error:
            screen.error(str(error))
            continue
        made.append({"audio": str(path), **transcript.to_dict()})
    if as_json:
        screen.result(made, None)
    if len(made) < len(audio):
        raise typer.Exit(1)


def _give(
    screen: Screen, path: Path, transcript: Transcript, formats: list[str], folder: Path | None
) -> None:
    """Write one transcript as soon as it is there, to files or to the screen."""
    if folder is not None:
        for name in formats:
            write_text(folder / f"{path.stem}.{name}", write(transcript, name))
    elif not screen.as_json:
        # plain print: a transcript is data, not markup to be wrapped and colored
        print(write(transcript, formats[0]), end="", flush=True)
