"""Progress that interrupts, as Ctrl-C would."""

from typing import Any


class Stop:
    """Lets some items pass, then interrupts."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, items, *, description, total=None) -> Any:  # type: ignore[no-untyped-def]
        for number, item in enumerate(items):
            if number == self.after:
                raise KeyboardInterrupt
            yield item
