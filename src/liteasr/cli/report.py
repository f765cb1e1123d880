"""liteasr report: results as a page, and cards for checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liteasr.cli.options import Json, Quiet, start
from liteasr.errors import StorageError
from liteasr.evaluation import Rules
from liteasr.report import read_contents, write_card, write_report

__all__ = ["report_command"]


def report_command(
    directory: Annotated[
        Path,
        typer.Argument(
            help="What `liteasr sweep`, `benchmark` or `evaluate --hypotheses` wrote: all that is "
            "there is shown.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The HTML file. [default: report.html in the directory]"
        ),
    ] = None,
    card: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write a model card into this checkpoint too; those of a sweep get theirs anyway."
        ),
    ] = None,
    texts: Annotated[
        int, typer.Option(min=0, help="Utterances to show with every model's text.")
    ] = 12,
    normalizer: Annotated[Rules, typer.Option(help="See `liteasr evaluate`.")] = "whisper",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make one HTML page of a directory of results, and Markdown beside it.

    The page holds its pictures, so it opens anywhere without a network. Every checkpoint gets a
    README.md as the Hugging Face hub reads it.

    Example: liteasr report sweep
    """
    screen = start(quiet=quiet, as_json=as_json)
    contents = read_contents(directory, normalizer)
    page = write_report(contents, output, texts=texts)
    rows = contents.sweep.rows if contents.sweep is not None else ()
    targets = [(directory / row.checkpoint, row.label) for row in rows if row.checkpoint]
    targets += [(folder, folder.resolve().name) for folder in card or ()]
    cards = []
    for folder, label in targets:
        try:
            cards.append(str(write_card(folder, contents, label)))
        except StorageError as error:
            screen.error(str(error))
    written = f"{page} and {len(cards)} model cards written"
    screen.result({"page": str(page), "cards": cards}, written)
