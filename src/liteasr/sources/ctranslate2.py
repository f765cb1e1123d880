"""CTranslate2's ``model.bin``, read without CTranslate2.

Little endian: version u32, specification name, revision u32, number of variables u32; then for
each variable its name, rank u8, dimensions u32, type u8, number of bytes u32 and the data; then
the number of aliases u32 and pairs of names. A string is its length u16, counting the final NUL,
and the bytes. Rows of int8 and int16 matrices were multiplied by ``<name>_scale`` when written.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of

__all__ = ["VariableFile", "read_variables"]

_VERSIONS = (4, 5, 6)  # one layout; older ones stored item sizes instead of types
_BFLOAT16 = 5
_TYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2", _BFLOAT16: "<u2"}

Array = NDArray[Any]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class VariableFile:
    """The variables of one file; the data stay on disk until they are asked for.

    Attributes:
        path: The file.
        specification: Name of the model layout, such as ``WhisperSpec``.
        revision: Revision of that layout.
        variables: Stored arrays by name; those named in ``bfloat16`` hold raw bits.
        bfloat16: Names of the variables stored as bfloat16, which numpy does not know.
        aliases: Other names of stored variables.
    """

    path: Path
    specification: str
    revision: int
    variables: dict[str, Array]
    bfloat16: frozenset[str]
    aliases: dict[str, str]

    def __contains__(self, name: str) -> bool:
        return self.aliases.get(name, name) in self.variables

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the dimensions of a variable.

        Raises:
            SourceError: The file holds no such variable.
        """
        return tuple(self._stored(name).shape)

    def scalar(self, name: str) -> int:
        """Give a whole number, such as a number of heads or a flag.

        Raises:
            SourceError: The file holds no such variable, or it is not a scalar.
        """
        stored = self._stored(name)
        if stored.size != 1:
            raise SourceError(f"{name} in {self.path} has shape {stored.shape}, not one value")
        return int(stored.reshape(-1)[0])

    def float32(self, name: str) -> Float32:
        """Copy a variable into float32, dequantised where it was quantised.

        Raises:
            SourceError: The file holds no such variable, or a quantised one has no scale.
        """
        stored, target = self._stored(name), self.aliases.get(name, name)
        if target in self.bfloat16:
            return (stored.astype(np.uint32) << 16).view(np.float32)
        values = np.array(stored, dtype=np.float32)
        if stored.dtype.kind != "i" or stored.ndim == 0:
            return values
        scale = self.float32(f"{target}_scale")
        rows = scale.reshape(-1, *[1] * (values.ndim - 1)) if scale.size > 1 else scale.reshape(())
        return np.divide(values, rows, out=values)

    def _stored(self, name: str) -> Array:
        target = self.aliases.get(name, name)
        if target not in self.variables:
            raise SourceError(
                f"{self.path} has no variable {name}: it was not written by a Whisper converter "
                f"of this layout ({self.specification} revision {self.revision})"
            )
        return self.variables[target]


def read_variables(path: Path) -> VariableFile:
    """Map a ``model.bin`` into memory and read its table of variables.

    Raises:
        IntegrityError: The file is truncated or its table contradicts itself; holds its SHA-256.
        SourceError: The file is another version, or no CTranslate2 model at all.
    """
    if path.stat().st_size == 0:
        raise IntegrityError(f"{path} is empty: fetch or convert the model again")
    cursor = _Cursor(path)
    version = cursor.number("<I", "its version")
    if version not in _VERSIONS:
        raise SourceError(
            f"{path} is no CTranslate2 model of version 4 to 6: its first number is {version} "
            f"(SHA-256 {sha256_of(path)}); convert the model again with ct2-transformers-converter"
        )
    specification = cursor.string()
    revision = cursor.number("<I", "its revision")
    variables: dict[str, Array] = {}
    bfloat16: set[str] = set()
    for _ in range(cursor.number("<I", "the number of variables")):
        name = cursor.string()
        variables[name], type_id = cursor.variable(name)
        if type_id == _BFLOAT16:
            bfloat16.add(name)
    count = cursor.number("<I", "the number of aliases")
    aliases = {cursor.string(): cursor.string() for _ in range(count)}
    cursor.finish()
    return VariableFile(
        path=path,
        specification=specification,
        revision=revision,
        variables=variables,
        bfloat16=frozenset(bfloat16),
        aliases=aliases,
    )


class _Cursor:
    """A position in a mapped file; every step checks that the bytes are there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self._offset = 0

    def number(self, layout: str, what: str) -> int:
        return int(struct.unpack(layout, self._take(struct.calcsize(layout), what).tobytes())[0])

    def string(self) -> str:
        raw = self._take(self.number("<H", "the length of a name"), "a name").tobytes()
        try:
            return raw.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            raise self._damaged(f"the name before byte {self._offset:,} is not text") from None

    def variable(self, name: str) -> tuple[Array, int]:
        rank = self.number("<B", f"the rank of {name}")
        shape = [self.number("<I", f"the shape of {name}") for _ in range(rank)]
        type_id = self.number("<B", f"the type of {name}")
        size_bytes = self.number("<I", f"the size of {name}")
        if type_id not in _TYPES:
            raise self._damaged(f"{name} has the unknown type {type_id}")
        dtype = np.dtype(_TYPES[type_id])
        expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size_bytes != expected:
            raise self._damaged(f"{name} of shape {shape} has {size_bytes} bytes, not {expected}")
        return self._take(size_bytes, name).view(dtype).reshape(shape), type_id

    def finish(self) -> None:
        if (left := len(self._bytes) - self._offset) > 0:
            raise self._damaged(f"{left:,} bytes follow the last alias")

    def _take(self, count: int, what: str) -> NDArray[np.uint8]:
        if self._offset + count > len(self._bytes):
            raise self._damaged(f"it ends at byte {len(self._bytes):,} inside {what}")
        self._offset += count
        return self._bytes[self._offset - count : self._offset]

    def _damaged(self, finding: str) -> IntegrityError:
        return IntegrityError(
            f"{self._path} is truncated or damaged: {finding} "
            f"(SHA-256 {sha256_of(self._path)}); fetch or convert the model again"
        )
