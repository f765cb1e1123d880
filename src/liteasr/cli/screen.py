"""What people see: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any, ClassVar, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from liteasr.progress import Description

__all__ = ["Screen"]

T = TypeVar("T")


class _LogHandler(logging.Handler):
    """Shows a record in one line, however long: Rich's own breaks paths at the margin."""

    styles: ClassVar = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the level and the message."""
        level = (f"{record.levelname.lower()}:", self.styles.get(record.levelname, "dim"))
        self.console.print(Text.assemble(level, f" {self.format(record)}"), soft_wrap=True)


class Screen:
    """Two consoles, and whether to be silent or to speak JSON.

    Args:
        quiet: No progress and no log below warnings.
        as_json: Results as one JSON value on stdout.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        # paths and transcripts may hold [brackets] and :colons:, which are no markup here
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def start_logging(self) -> None:
        """Show the library's log on stderr."""
        handler = _LogHandler(self.err)
        logger = logging.getLogger("liteasr")
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING if self.quiet else logging.INFO)

    def track(
        self, items: Iterable[T], *, description: Description, total: float | None = None
    ) -> Iterator[T]:
        """Walk through items behind a bar with the time that is left."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(
            *columns,
            console=self.err,
            disable=self.quiet,
            redirect_stdout=self.out.is_terminal,  # a file or a pipe must get what is printed
        ) as progress:
            text = description if callable(description) else lambda: description
            known = total if total is not None else length_hint(items) or None
            task = progress.add_task(text(), total=known)
            for item in items:
                yield item
                progress.update(task, advance=1, description=text())

    def note(self, text: str) -> None:
        """Say something on stderr, unless quiet."""
        if not self.quiet:
            self.err.print(text, soft_wrap=True)

    def error(self, text: str) -> None:
        """Say on stderr what failed while the rest goes on, also when quiet."""
        self.err.print(Text.assemble(("error:", "red"), f" {text}"), soft_wrap=True)

    def result(self, value: dict[str, Any] | list[Any], shown: Any) -> None:
        """Give the result: JSON for machines, or something Rich can show to people."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False))
        else:
            self.out.print(shown, soft_wrap=isinstance(shown, str))
