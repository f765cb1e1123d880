import errno
import os
from pathlib import Path

import pytest

from liteasr import atomic
from liteasr.atomic import atomic_directory, atomic_file, write_text
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


def test_a_failed_swap_brings_the_old_directory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_directory(tmp_path / "d") as folder:
        (folder / "a").write_text("old")
    real, calls = os.rename, []

    def rename(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "no")
        real(source, target)

    monkeypatch.setattr(atomic.os, "rename", rename)
    with pytest.raises(StorageError), atomic_directory(tmp_path / "d", overwrite=True) as folder:
        (folder / "a").write_text("new")
    assert (tmp_path / "d" / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]
