"""Options that several commands share, written once.

Nothing here needs PyTorch: a transcription may do without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
import wrapt

from liteasr.cli.screen import Screen
from liteasr.threads import set_cpu_threads

__all__ = [
    "Audio",
    "Device",
    "Json",
    "Model",
    "Quiet",
    "Samples",
    "Seed",
    "Threads",
    "refuse_collisions",
    "start",
]

Model = Annotated[
    str,
    typer.Argument(
        help="A bundled name (whisper-base), a Hugging Face directory or hub id, a CTranslate2 "
        "(faster-whisper) directory, an openai-whisper .pt file, or a checkpoint made here.",
        show_default=False,
    ),
]
Audio = Annotated[
    list[str],
    typer.Option(
        "--audio",
        help="Unlabelled speech: a folder, a JSONL manifest, a text file of paths, one file, or "
        "hf:DATASET. May be given more than once.",
        show_default=False,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", min=1, help="Use this many utterances, chosen by --seed."),
]
Seed = Annotated[int, typer.Option("--seed", help="Chooses the sample.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads. [default: as PyTorch chooses]")
]


def _checked(device: str | None) -> str | None:
    """Refuse a device that is not there before any work."""
    if device is None:
        return None
    from liteasr.devices import find_device

    try:
        find_device(device)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return device


Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda:N",
        callback=_checked,
        help="Where PyTorch computes; auto is a GPU where there is one. [default: auto]",
        show_default=False,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout, for machines.")]


def start(*, quiet: bool, as_json: bool = False, threads: int | None = None) -> Screen:
    """Set up what every command needs."""
    screen = Screen(quiet=quiet, as_json=as_json)
    screen.start_logging()
    if quiet:  # where and when they are imported
        wrapt.register_post_import_hook(_hush, "transformers.utils.logging")
        wrapt.register_post_import_hook(_hush_hub, "huggingface_hub.utils")
    if threads is not None:
        set_cpu_threads(threads)
    return screen


def _hush(transformers_logging: Any) -> None:
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _hush_hub(hub_utils: Any) -> None:
    hub_utils.disable_progress_bars()


def refuse_collisions(outputs: Iterable[tuple[str | Path, str]]) -> None:
    """Refuse inputs that would overwrite each other's output, before any work is done.

    Raises:
        typer.BadParameter: Two inputs have one output name.
    """
    owners: dict[str, str | Path] = {}
    for given, name in outputs:
        if name in owners:
            raise typer.BadParameter(
                f"{owners[name]} and {given} would both be written to {name}: rename one, or run "
                "them apart with a directory each"
            )
        owners[name] = given
