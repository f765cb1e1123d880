"""What people see: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Screen"]

T = TypeVar("T")


class Screen:
    """Two consoles, and whether to be silent or to speak JSON.

    Args:
        quiet: No progress and no log below errors.
        as_json: Results as one JSON value on stdout.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    def start_logging(self) -> None:
        """Show the library's log on stderr."""
        handler = RichHandler(console=self.err, show_path=False, show_time=False)
        logger = logging.getLogger("liteasr")
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.ERROR if self.quiet else logging.INFO)

    def track(
        self, items: Iterable[T], *, description: str, total: float | None = None
    ) -> Iterator[T]:
        """Walk through items behind a bar with the time that is left."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.err, disable=self.quiet) as progress:
            yield from progress.track(items, total=total, description=description)

    def note(self, text: str) -> None:
        """Say something on stderr, unless quiet."""
        if not self.quiet:
            self.err.print(text)

    def result(self, value: dict[str, Any] | list[Any], shown: Any) -> None:
        """Give the result: JSON for machines, or something Rich can show to people."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False))
        else:
            self.out.print(shown)
