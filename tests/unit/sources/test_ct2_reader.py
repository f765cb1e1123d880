"""The reader gives back what the format's writer wrote, or says what is wrong with the file."""

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteasr.errors import IntegrityError, SourceError
from liteasr.sources.ctranslate2 import read_variables

VALUES = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
# Relative to the largest value of a row: rounding to half a step of the type.
TOLERANCE = {"float32": 0.0, "float16": 2e-3, "bfloat16": 2e-2, "int8": 2e-2, "int16": 2e-3}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(binary: Any) -> Path:
        path = tmp_path / "model.bin"
        path.write_bytes(binary if isinstance(binary, bytes) else binary.encode())
        return path

    return write


@pytest.mark.parametrize("version", [4, 5, 6])
@pytest.mark.parametrize("kind", TOLERANCE)
def test_gives_back_what_was_written(
    kind: str, version: int, empty_binary: Any, written: Any
) -> None:
    binary = empty_binary(version=version)
    binary.add("heads", np.int16(8), "int16")
    binary.add("steps", np.int32(70_000), "int32")
    binary.add_matrix("matrix", VALUES, kind)
    binary.aliases.append(("other", "matrix"))
    file = read_variables(written(binary))
    assert (file.specification, file.revision) == ("WhisperSpec", 3)
    assert (file.scalar("heads"), file.scalar("steps")) == (8, 70_000)
    assert file.shape("other") == (4, 6)
    assert "other" in file
    assert "nothing" not in file
    for name in ("matrix", "other"):
        found = file.float32(name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, VALUES, atol=3 * TOLERANCE[kind], rtol=0)


def test_int8_divides_each_row_by_its_own_scale(empty_binary: Any, written: Any) -> None:
    binary = empty_binary()
    rows = np.array([[1.0, -1.0], [1000.0, 500.0], [0.0, 0.0]], dtype=np.float32)
    binary.add_matrix("matrix", rows, "int8")
    found = read_variables(written(binary)).float32("matrix")
    assert np.abs(found - rows).max(axis=1) == pytest.approx([0, 0, 0], abs=1000 / 254)
    assert found[0] == pytest.approx([1, -1])


def test_int8_convolutions_are_scaled_by_output_channel(empty_binary: Any, written: Any) -> None:
    binary = empty_binary()
    kernel = VALUES.reshape(4, 2, 3) * np.array([1, 10, 100, 1000], np.float32)[:, None, None]
    binary.add_matrix("conv", kernel, "int8")
    found = read_variables(written(binary)).float32("conv")
    steps = np.abs(kernel).max(axis=(1, 2), keepdims=True) / 127
    assert (np.abs(found - kernel) <= 0.51 * steps).all()


def test_values_are_copies_that_may_be_changed(empty_binary: Any, written: Any) -> None:
    binary = empty_binary()
    binary.add("matrix", VALUES)
    file = read_variables(written(binary))
    file.float32("matrix")[:] = 0
    np.testing.assert_array_equal(file.float32("matrix"), VALUES)


def test_every_truncation_is_noticed(empty_binary: Any, written: Any) -> None:
    binary = empty_binary()
    binary.add("matrix", VALUES)
    binary.aliases.append(("other", "matrix"))
    whole = binary.encode()
    for length in range(len(whole)):
        path = written(whole[:length])
        with pytest.raises(IntegrityError) as caught:
            read_variables(path)
        if length:
            assert hashlib.sha256(whole[:length]).hexdigest() in str(caught.value)


@pytest.mark.parametrize(
    ("garbage", "finding"),
    [
        (struct.pack("<I", 6) + struct.pack("<H", 3) + b"\xff\xfe\0", "is not text"),
        (b"", "is empty"),
    ],
)
def test_garbage_is_noticed(garbage: bytes, finding: str, written: Any) -> None:
    with pytest.raises(IntegrityError, match=finding):
        read_variables(written(garbage))


@pytest.mark.parametrize("start", [b"PK\x03\x04", struct.pack("<I", 7), struct.pack("<I", 3)])
def test_another_format_or_version_is_refused(start: bytes, written: Any) -> None:
    with pytest.raises(SourceError, match="version 4 to 6"):
        read_variables(written(start + b"\0" * 64))


def test_a_contradicting_table_is_noticed(empty_binary: Any, written: Any) -> None:
    binary = empty_binary()
    binary.add("row", np.zeros(3, np.float32))
    good = binary.encode()
    table = b"row\0" + struct.pack("<BIBI", 1, 3, 0, 12)
    for bad, finding in (
        (struct.pack("<BIBI", 1, 3, 9, 12), "unknown type 9"),
        (struct.pack("<BIBI", 1, 4, 0, 12), "12 bytes, not 16"),
    ):
        with pytest.raises(IntegrityError, match=finding):
            read_variables(written(good.replace(table, b"row\0" + bad)))
    with pytest.raises(IntegrityError, match="5 bytes follow"):
        read_variables(written(good + b"extra"))


def test_missing_variables_are_named(empty_binary: Any, written: Any) -> None:
    binary = empty_binary()
    binary.add("codes", VALUES, "int8")
    file = read_variables(written(binary))
    with pytest.raises(SourceError, match="no variable codes_scale"):
        file.float32("codes")
    with pytest.raises(SourceError, match="not one value"):
        file.scalar("codes")
