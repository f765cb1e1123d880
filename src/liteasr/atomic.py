"""Files and folders appear whole or not at all: write to a temporary name, then rename."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liteasr.errors import StorageError

__all__ = [
    "atomic_directory",
    "atomic_file",
    "atomic_files",
    "made_once",
    "require_free",
    "require_writable",
    "write_text",
]


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

    Without ``overwrite`` nothing is ever replaced, also if another process makes the same folder
    meanwhile: the first one stays.

    Raises:
        StorageError: ``path`` exists, is not an empty folder and ``overwrite`` is false; or
            the disk refused.
    """
    final = Path(path).resolve()
    if not overwrite:
        require_free(final)
    with _storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    new, old = workplace / "new", workplace / "old"
    try:
        with _storage_errors(final):
            new.mkdir()
            yield new
            if overwrite:
                _swap(new, final, old)
            else:
                _settle(new, final)
    finally:
        if final.exists() or not old.exists():  # never the only copy
            shutil.rmtree(workplace, ignore_errors=True)


@contextmanager
def atomic_files(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder inside ``directory`` and move its files there on success.

    For files that name each other and are checked before they appear. They are moved in the
    order in which they were finished, and take the place of files of their names.

    Raises:
        StorageError: The disk is full, read-only or not permitted.
    """
    final = Path(directory).resolve()
    with _storage_errors(final):
        final.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=final, prefix=".unfinished."))
    try:
        with _storage_errors(final):
            yield workplace
            for file in sorted(workplace.iterdir(), key=lambda made: made.stat().st_mtime_ns):
                os.replace(file, final / file.name)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def made_once(place: Path, make: Callable[[], object]) -> Path:
    """Give a folder that is made the first time, by this process or by a faster one.

    Args:
        place: The folder.
        make: Makes it whole, or raises StorageError.
    """
    if not place.is_dir():
        try:
            make()
        except StorageError:
            if not place.is_dir():  # no other process was faster
                raise
    return place


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


def require_writable(path: str | os.PathLike[str], *, folder: bool = False) -> None:
    """Check that a file, or a folder, can be written here, before the work that makes it.

    Raises:
        StorageError: A parent is a file, or the disk is read-only or not permitted; or there
            is a folder in the place of the file.
    """
    place = Path(path)
    if place.is_dir() and not folder:
        raise StorageError(f"{place} is a folder: name a file")
    parent = place.resolve().parent
    with _storage_errors(place):
        while not parent.exists():
            parent = parent.parent
        tempfile.TemporaryFile(dir=parent).close()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file whole or not at all.

    Raises:
        StorageError: The disk refused.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _swap(new: Path, final: Path, old: Path) -> None:
    """Put ``new`` in the place of ``final``, which becomes ``old``; undone if anything stops it."""
    try:
        if final.exists():
            os.rename(final, old)
        os.rename(new, final)
    except BaseException:
        if old.exists() and not final.exists():
            os.rename(old, final)
        raise


def _settle(new: Path, final: Path) -> None:
    """Put ``new`` where nothing is but perhaps an empty folder."""
    with suppress(FileNotFoundError):
        final.rmdir()
    os.rename(new, final)


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
