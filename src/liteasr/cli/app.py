"""The ``liteasr`` command: one verb per file, and one place where errors become exit codes.

Exit codes: 0 done, 1 an error of ours (a file, a model, the disk), 2 wrong usage,
130 interrupted, 143 terminated.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import liteasr
from liteasr.cli.screen import Screen
from liteasr.errors import LiteASRError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = (
    "compress",
    "transcribe",
    "evaluate",
    "calibrate",
    "plan",
    "refine",
    "export",
    "sweep",
    "benchmark",
    "report",
    "inspect",
    "models",
)


class Commands(TyperGroup):
    """The verbs, each imported when it is asked for: most need PyTorch, a transcription may not."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name them in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one; all of them for a name that is none, so that the nearest can be suggested."""
        for name in (cmd_name,) if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                module = import_module(f"liteasr.cli.{name}")
                alone = typer.Typer(add_completion=False, rich_markup_mode=None)
                alone.command(name)(getattr(module, f"{name}_command"))
                self.commands[name] = typer.main.get_command(alone)
        return self.commands.get(cmd_name)


app = typer.Typer(
    name="liteasr",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make speech recognizers small and fast without labels.",
    epilog="A first try: liteasr compress whisper-base --audio recordings/ -o whisper-base-lite",
)


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
