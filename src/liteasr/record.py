"""Records read back from files: what we need is checked, what a newer version added is left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = ["known_fields"]

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
