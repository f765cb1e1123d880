import errno
import os
from pathlib import Path

import pytest

from liteasr import atomic
from liteasr.atomic import atomic_directory, atomic_file, require_writable, write_text
from liteasr.errors import StorageError


def fail_after_writing(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


def test_a_file_appears_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "new")
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"
    assert len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: type) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(error), atomic_file(target) as temporary:
        fail_after_writing(temporary, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(StorageError, match=r"a\.txt: No space left"),
        atomic_file(tmp_path / "a.txt"),
    ):
        raise full
    with pytest.raises(StorageError, match="No space left"), atomic_directory(tmp_path / "d"):
        raise full
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_places_are_tried_before_the_work(tmp_path: Path, monkeypatch, folder: bool) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("x")
    for place in ("new", "deep/er/new", "file"):
        require_writable(tmp_path / place, folder=folder)
    with pytest.raises(StorageError, match="Not a directory"):
        require_writable(tmp_path / "file" / "deep" / "new", folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def refused(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(atomic.tempfile, "TemporaryFile", refused)
    with pytest.raises(StorageError, match="new: Permission denied"):
        require_writable(tmp_path / "new", folder=folder)


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    require_writable(tmp_path, folder=True)
    with pytest.raises(StorageError, match="is a folder: name a file"):
        require_writable(tmp_path)


def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(StorageError), atomic_directory(tmp_path / "file" / "d"):
        pass


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "d") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "d").exists()
    assert (tmp_path / "d" / "a").read_text() == "1"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_a_directory_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "d") as folder:
        (folder / "a").write_text("1")
    with pytest.raises(StorageError, match="exists already"), atomic_directory(tmp_path / "d"):
        pass
    with atomic_directory(tmp_path / "d", overwrite=True) as folder:
        (folder / "b").write_text("2")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def written_by_another(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "a").write_text("theirs")


@pytest.mark.parametrize("empty", [False, True])
def test_a_directory_that_came_meanwhile_stays(tmp_path: Path, empty: bool) -> None:
    """Another process may be reading it already."""
    if empty:
        (tmp_path / "d").mkdir()
    with (
        pytest.raises(StorageError, match=r"cannot write .*: Directory not empty"),
        atomic_directory(tmp_path / "d"),
    ):
        written_by_another(tmp_path / "d")
    assert (tmp_path / "d" / "a").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with atomic_directory(tmp_path / "d") as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "d" / "a").exists()


def test_a_file_in_the_way_is_replaced_when_asked(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("file")
    with atomic_directory(tmp_path / "d", overwrite=True) as folder:
        (folder / "a").write_text("1")
    assert (tmp_path / "d" / "a").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def failing_rename(
    monkeypatch: pytest.MonkeyPatch, errors: dict[int, BaseException], *, after: bool = False
) -> None:
    """Let the given calls of `os.rename` fail, before or after they did their work."""
    real, calls = os.rename, []

    def rename(source: Path, target: Path) -> None:
        calls.append(target)
        if after or len(calls) not in errors:
            real(source, target)
        if len(calls) in errors:
            raise errors[len(calls)]

    monkeypatch.setattr(atomic.os, "rename", rename)


def old_directory(path: Path, kind: str) -> Path:
    """A folder, or a file in the place of one."""
    if kind == "file":
        path.write_text("old")
        return path
    path.mkdir()
    (path / "a").write_text("old")
    return path / "a"


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), KeyboardInterrupt()], ids=repr)
def test_a_failed_swap_brings_the_old_directory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, call: int, kind: str
) -> None:
    old = old_directory(tmp_path / "d", kind)
    failing_rename(monkeypatch, {call: error})
    with (
        pytest.raises((StorageError, KeyboardInterrupt)),
        atomic_directory(tmp_path / "d", overwrite=True) as folder,
    ):
        (folder / "a").write_text("new")
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


@pytest.mark.parametrize(("call", "found"), [(1, "old"), (2, "new")])
def test_a_swap_interrupted_between_two_steps_leaves_one_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, found: str
) -> None:
    old_directory(tmp_path / "d", "folder")
    failing_rename(monkeypatch, {call: KeyboardInterrupt()}, after=True)
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_directory(tmp_path / "d", overwrite=True) as folder,
    ):
        (folder / "a").write_text("new")
    assert (tmp_path / "d" / "a").read_text() == found
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_the_only_copy_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_directory(tmp_path / "d", "folder")
    refused = OSError(errno.EIO, "no")
    failing_rename(monkeypatch, {2: refused, 3: refused})
    with pytest.raises(StorageError), atomic_directory(tmp_path / "d", overwrite=True):
        pass
    (left,) = tmp_path.iterdir()
    assert (left / "old" / "a").read_text() == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_directory_leaves_the_old_one(tmp_path: Path, error: type) -> None:
    old = old_directory(tmp_path / "d", "folder")
    with (
        pytest.raises(error),
        atomic_directory(tmp_path / "d", overwrite=True) as folder,
    ):
        fail_after_writing(folder / "a", error)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]
