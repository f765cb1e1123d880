"""Options of the commands that transcribe: which runtime, how much the decoder sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from liteasr.cli.screen import Screen
from liteasr.errors import LiteASRError
from liteasr.runtime import (
    ContextChoice,
    EncoderChoice,
    RuntimeChoice,
    Transcriber,
    load_transcriber,
)
from liteasr.runtime.context import check_context
from liteasr.runtime.pooling import PoolingChoice, check_pooling

__all__ = [
    "BatchSize",
    "ComputeType",
    "Context",
    "EncoderName",
    "Pooling",
    "Runtime",
    "Streams",
    "open_transcriber",
    "parse_context",
    "parse_pooling",
]

DEFAULTS = ("auto", "auto", None, 1)

Runtime = Annotated[
    RuntimeChoice,
    typer.Option(
        help="PyTorch (transformers), or an encoder and a greedy decoder of ours around "
        "CTranslate2 (faster-whisper); auto takes the faster one that is installed."
    ),
]
EncoderName = Annotated[
    EncoderChoice,
    typer.Option(
        "--encoder", help="What encodes for the runtime faster-whisper; transformers knows torch."
    ),
]
ComputeType = Annotated[
    str,
    typer.Option(
        "--compute-type",
        "--compute_type",
        help="What CTranslate2 decodes in for the runtime faster-whisper: float32, int8, ...; "
        "auto is the fastest, with our greedy decoder where onnx is installed.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "--batch_size",
        min=1,
        help="Windows that the runtime faster-whisper decodes at once, cut where nobody speaks: "
        "faster, without retries at higher temperatures. [default: one after the other]",
    ),
]
Streams = Annotated[
    int,
    typer.Option(
        min=1,
        help="Stretches of a long recording that the runtime faster-whisper transcribes at once, "
        "cut where it is quietest.",
    ),
]
Context = Annotated[
    str,
    typer.Option(
        metavar="auto|off|N",
        help="Positions of 20 ms that are encoded after the end of the audio: auto is 512, off "
        "is the whole window of 30 s.",
    ),
]

Pooling = Annotated[
    str,
    typer.Option(
        metavar="auto|N",
        help="Neighbouring positions that CTranslate2's decoder reads as one: auto is 2, 1 shows "
        "it all.",
    ),
]


def parse_context(text: str) -> ContextChoice:
    """The choice that --context names.

    Raises:
        typer.BadParameter: It is none.
    """
    choice: ContextChoice = _number_or_word(text, check_context)
    return choice


def parse_pooling(text: str) -> PoolingChoice:
    """The choice that --pooling names.

    Raises:
        typer.BadParameter: It is none.
    """
    choice: PoolingChoice = _number_or_word(text, check_pooling)
    return choice


def _number_or_word(text: str, check: Callable[[Any], None]) -> Any:
    choice = int(text) if text.isdecimal() else text
    try:
        check(choice)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return choice


def open_transcriber(
    model: str,
    runtime: RuntimeChoice,
    encoder: EncoderChoice,
    compute_type: str,
    batch_size: int | None,
    device: str | None,
    screen: Screen,
    streams: int = 1,
) -> Transcriber:
    """Open a model in the runtime that the options name.

    Without --device it computes on a GPU where there is one, but for what is faster-whisper's.

    Raises:
        typer.BadParameter: The options do not fit together, or this machine.
        LiteASRError: What `load_transcriber` raises.
    """
    named = (encoder, compute_type, batch_size, streams) != DEFAULTS
    theirs = runtime == "faster-whisper" or named
    try:
        return load_transcriber(
            model,
            runtime=runtime,
            encoder=encoder,
            compute_type=compute_type,
            batch_size=batch_size,
            streams=streams,
            device=device or ("cpu" if theirs else "auto"),
            track=screen.track,
        )
    except LiteASRError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
