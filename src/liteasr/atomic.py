"""Files and folders appear whole or not at all: write to a temporary name, then rename."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liteasr.errors import StorageError

__all__ = ["atomic_directory", "atomic_file", "require_free", "write_text"]


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` on success.

    After an error or an interruption the old file, if any, is untouched and the temporary
    one is gone.

    Raises:
        StorageError: The disk is full, read-only or not permitted.
    """
    final = Path(path)
    with _storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.")
        os.close(handle)
    temporary = Path(name)
    try:
        with _storage_errors(final):
            yield temporary
            _make_readable(temporary)
            os.replace(temporary, final)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def atomic_directory(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and rename it to ``path`` on success.

    Raises:
        StorageError: ``path`` exists, is not an empty folder and ``overwrite`` is false; or
            the disk refused.
    """
    final = Path(path).resolve()
    if not overwrite:
        require_free(final)
    with _storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        with _storage_errors(final):
            yield temporary
            temporary.chmod(0o755)
            _replace_directory(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(path: str | os.PathLike[str]) -> None:
    """Check that a folder can be made here without replacing anything.

    Raises:
        StorageError: There is a file, or a folder that is not empty.
    """
    place = Path(path)
    if place.is_dir() and not any(place.iterdir()):
        return
    if place.exists():
        raise StorageError(f"{place} exists already: choose another name or overwrite it")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file whole or not at all.

    Raises:
        StorageError: The disk refused.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _replace_directory(temporary: Path, final: Path) -> None:
    """Rename a folder over another one; the old one is removed only once the new one stands."""
    if not final.exists():
        os.rename(temporary, final)
        return
    if not final.is_dir():
        os.replace(final, temporary.with_suffix(".old"))
        os.rename(temporary, final)
        temporary.with_suffix(".old").unlink()
        return
    retired = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    os.rename(final, retired)  # renaming over an empty folder is allowed
    try:
        os.rename(temporary, final)
    except OSError:
        os.rename(retired, final)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _make_readable(path: Path) -> None:
    """Give a temporary file the mode that an ordinary new file would have."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
