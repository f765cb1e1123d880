import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest

from liteasr.record import known_fields


@dataclass
class Inner:
    x: int


@dataclass
class Record:
    name: str
    count: int
    share: float
    choice: Literal["a", "b"]
    inner: Inner | None = None
    layers: tuple[Inner, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


GOOD = {"name": "n", "count": 1, "share": 2, "choice": "a"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inner": None},
        {"inner": {"x": "not looked at"}},
        {"layers": [{}]},
        {"hashes": {"f": "0"}, "options": {"keep": 0.5, "list": [1]}},
    ],
)
def test_records_that_fit_come_back_whole(more: dict[str, Any]) -> None:
    assert known_fields(Record, {**GOOD, **more}) == {**GOOD, **more}


def test_what_was_written_is_read() -> None:
    record = Record(**GOOD, inner=Inner(3), layers=(Inner(1),), hashes={"f": "0"})  # type: ignore[arg-type]
    assert known_fields(Record, asdict(record)) == asdict(record)


def test_keys_of_the_future_are_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="liteasr"):
        assert known_fields(Record, {**GOOD, "sparkle": 1}) == GOOD
    assert "unknown keys of a Record: sparkle" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "'name' must be .*str.*, got 3"),
        ({"count": 1.5}, "'count' must be .*int.*, got 1.5"),
        ({"count": True}, "'count' must be .*int.*, got True"),
        ({"share": "much"}, "'share' must be .*float.*, got 'much'"),
        ({"choice": "c"}, "'choice' must be .*'a', 'b'.*, got 'c'"),
        ({"choice": []}, "'choice'"),
        ({"inner": 3}, "'inner'"),
        ({"layers": {}}, "'layers'"),
        ({"hashes": []}, "'hashes'"),
        ({"hashes": {"f": 1}}, "'hashes'"),
        ({"name": {}}, "'name'"),
        ({"name": "x" * 9999, "count": "y" * 9999}, "'count' must be .*, got .{80}$"),
    ],
)
def test_values_of_another_type_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        known_fields(Record, {**GOOD, **change})


@pytest.mark.parametrize("missing", GOOD)
def test_missing_keys_are_named(missing: str) -> None:
    with pytest.raises(ValueError, match=f"'{missing}' is missing"):
        known_fields(Record, {key: GOOD[key] for key in GOOD if key != missing})


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_other_values_are_no_records(value: object) -> None:
    with pytest.raises(ValueError, match="expected an object"):
        known_fields(Record, value)
