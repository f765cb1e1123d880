"""How long work tells that it goes on, without the library knowing about screens.

A function that may take long takes ``track``, which wraps the iterable it walks through.
The default is silent; the command line passes one that draws a Rich bar.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

__all__ = ["Description", "Track", "silent"]

T = TypeVar("T")
Description = str | Callable[[], str]  # a call says what has changed, such as a loss


class Track(Protocol):
    """Wrap an iterable so that walking through it is shown."""

    def __call__(
        self, items: Iterable[T], *, description: Description, total: float | None = None
    ) -> Iterable[T]:
        """Yield the items unchanged; ``total`` is their number where it is known."""
        ...


def silent(
    items: Iterable[T], *, description: Description, total: float | None = None
) -> Iterable[T]:
    """Show nothing."""
    del description, total
    return items
