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


class Interruption:
    """Progress bars, stopped by hand after some items of all of them."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, items, **_: object) -> Any:  # type: ignore[no-untyped-def]
        for item in items:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield item
