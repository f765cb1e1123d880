"""Scored utterances on their way to a file: an interrupted run goes on after the last one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liteasr.errors import StorageError
from liteasr.evaluation.hypotheses import (
    hypothesis_line,
    parse_hypotheses,
    read_hypotheses,
    write_hypotheses,
)
from liteasr.evaluation.report import ScoredUtterance

__all__ = ["Journal"]


class Journal:
    """Keeps utterances as they come in ``NAME.jsonl.partial``, and all of them in ``NAME.jsonl``.

    Args:
        path: The file that is there in the end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.name}.partial")

    def read(self) -> tuple[ScoredUtterance, ...]:
        """Give what earlier runs kept; a line that was cut off in the middle is removed.

        Raises:
            CorpusError: A file does not hold scored utterances.
            StorageError: The disk refused.
        """
        finished = read_hypotheses(self.path) if self.path.is_file() else ()
        if not self.partial.is_file():
            return finished
        content = self.partial.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with _refusals(self.partial):
                os.truncate(self.partial, len(whole))
        return (*finished, *parse_hypotheses(whole.decode("utf-8"), self.partial))

    def append(self, one: ScoredUtterance) -> None:
        """Keep one more.

        Raises:
            StorageError: The disk refused.
        """
        with _refusals(self.partial):
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            with self.partial.open("a", encoding="utf-8") as file:
                file.write(hypothesis_line(one))

    def finish(self, utterances: tuple[ScoredUtterance, ...]) -> None:
        """Write all of them in order, and remove what was kept on the way.

        Raises:
            StorageError: The disk refused.
        """
        write_hypotheses(utterances, self.path)
        self.partial.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what earlier runs kept."""
        self.path.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
