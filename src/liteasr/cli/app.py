"""The ``liteasr`` command: one verb per file, and one place where errors become exit codes.

Exit codes: 0 done, 1 an error of ours (a file, a model, the disk), 2 wrong usage,
130 interrupted, 143 terminated.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

import liteasr
from liteasr.cli.benchmark import benchmark_command
from liteasr.cli.calibrate import calibrate_command
from liteasr.cli.compress import compress_command
from liteasr.cli.evaluate import evaluate_command
from liteasr.cli.export import export_command
from liteasr.cli.inspect import inspect_command
from liteasr.cli.models import models_command
from liteasr.cli.plan import plan_command
from liteasr.cli.refine import refine_command
from liteasr.cli.report import report_command
from liteasr.cli.screen import Screen
from liteasr.cli.sweep import sweep_command
from liteasr.cli.transcribe import transcribe_command
from liteasr.errors import LiteASRError

__all__ = ["app", "main"]

app = typer.Typer(
    name="liteasr",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make speech recognizers small and fast without labels.",
    epilog="A first try: liteasr compress whisper-base --audio recordings/ -o whisper-base-lite",
)
for name, command in (
    ("compress", compress_command),
    ("transcribe", transcribe_command),
    ("evaluate", evaluate_command),
    ("calibrate", calibrate_command),
    ("plan", plan_command),
    ("refine", refine_command),
    ("export", export_command),
    ("sweep", sweep_command),
    ("benchmark", benchmark_command),
    ("report", report_command),
    ("inspect", inspect_command),
    ("models", models_command),
):
    app.command(name)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"liteasr {liteasr.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; the entry point of the ``liteasr`` script."""
    try:
        with _terminable():
            app(standalone_mode=True)
    except LiteASRError as error:
        Screen().error(str(error))
        sys.exit(1)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises, as Ctrl-C does: what is done is kept and no file is left half-written."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
