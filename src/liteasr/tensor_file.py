"""Safetensors files, written whole or not at all and read with an honest error."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from liteasr.atomic import atomic_file
from liteasr.errors import IntegrityError, StorageError
from liteasr.integrity import sha256_of

__all__ = ["read_metadata", "read_tensors", "write_tensors"]


def write_tensors(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write tensors and string metadata to one safetensors file.

    Raises:
        StorageError: The disk is full, read-only or not permitted.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata=metadata)
        except SafetensorError as error:
            raise StorageError(f"cannot write {path}: {error}") from error


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file.

    Raises:
        FileNotFoundError: There is no such file.
        IntegrityError: The file is truncated or not safetensors; holds its SHA-256.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read only the metadata of a safetensors file.

    Raises:
        FileNotFoundError: There is no such file.
        IntegrityError: The file is truncated or not safetensors; holds its SHA-256.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _damaged(path: str | os.PathLike[str], error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{path} is truncated or damaged ({error}); its SHA-256 is {sha256_of(Path(path))}: "
        "fetch or make the file again"
    )
