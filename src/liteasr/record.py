"""Records read back from files: what we need is checked, what a newer version added is left out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = ["known_fields", "stored_object"]

log = logging.getLogger(__name__)


def known_fields(kind: type, value: object) -> dict[str, Any]:
    """The keys of a stored object that a dataclass has; others are dropped and logged.

    Of a record inside the record only that it is an object is checked: it has its own call.

    Raises:
        ValueError: It is no object, or a key is missing or holds a value of another type.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object, got {value!r:.80}")
    hints = get_type_hints(kind)
    if dropped := sorted(set(value) - set(hints)):
        log.warning("dropping unknown keys of a %s: %s", kind.__name__, ", ".join(dropped))
    for item in fields(kind):
        if item.name not in value:
            if item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"{item.name!r} is missing")
        elif not _fits(value[item.name], hints[item.name]):
            raise ValueError(f"{item.name!r} must be {item.type}, got {value[item.name]!r:.80}")
    return {name: value[name] for name in hints if name in value}


@contextmanager
def stored_object(
    path: str | os.PathLike[str], *, holds: str, version: int, error: type[Exception]
) -> Iterator[Any]:
    """The object in a JSON file; what is wrong with it, or with what the body makes of it, is said.

    Args:
        path: The file.
        holds: What should be in it, for the message.
        version: Of the format that is understood.
        error: Raised in place of everything that goes wrong.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        if (found := value["version"]) != version:
            cure = "upgrade liteasr" if found > version else f"this liteasr makes {version}"
            raise ValueError(f"version {found}: {cure}")
        yield value
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}") from problem
    except (KeyError, TypeError, ValueError) as problem:
        raise error(
            f"{path} does not hold {holds} ({problem}): delete it to make them again"
        ) from problem


def _fits(value: object, hint: Any) -> bool:
    """Whether a value out of JSON can stand where the hint is."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind is Literal:
        return value in arguments
    if kind is UnionType:
        return any(_fits(value, choice) for choice in arguments)
    if is_dataclass(kind):
        return isinstance(value, Mapping)
    if kind is tuple:
        return isinstance(value, list | tuple)
    if isinstance(value, Mapping) and arguments:
        return issubclass(dict, kind) and all(_fits(v, arguments[1]) for v in value.values())
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)
