"""Bytes are checked against the SHA-256 they are expected to have."""

import hashlib
from pathlib import Path

from liteasr.errors import IntegrityError

__all__ = ["sha256_of", "verify_file"]


def sha256_of(path: Path) -> str:
    """Hash a file of any size."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify_file(path: Path, *, sha256: str, size_bytes: int, fix: str) -> None:
    """Check that a file holds exactly the bytes expected.

    Raises:
        IntegrityError: The file is missing, truncated or altered; holds both hashes and the fix.
    """
    if not path.is_file():
        raise IntegrityError(f"{path} is missing (expected SHA-256 {sha256}): {fix}")
    found_bytes, found = path.stat().st_size, sha256_of(path)
    if found_bytes != size_bytes or found != sha256:
        raise IntegrityError(
            f"{path} is damaged: expected SHA-256 {sha256} ({size_bytes:,} bytes), "
            f"found {found} ({found_bytes:,} bytes): {fix}"
        )
