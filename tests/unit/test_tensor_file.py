import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from liteasr import tensor_file
from liteasr.errors import IntegrityError, StorageError
from liteasr.integrity import sha256_of
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors


def test_round_trip_keeps_tensors_and_metadata(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(4, 3).T, "b": torch.arange(3)}
    write_tensors(tmp_path / "t.safetensors", tensors, {"format": "x"})
    found = read_tensors(tmp_path / "t.safetensors")
    assert torch.equal(found["a"], tensors["a"])
    assert torch.equal(found["b"], tensors["b"])
    assert read_metadata(tmp_path / "t.safetensors") == {"format": "x"}


@pytest.mark.parametrize("read", [read_tensors, read_metadata])
@pytest.mark.parametrize("keep", [0, 5, 60, 200])
def test_truncated_files_are_named_with_their_hash(tmp_path: Path, read, keep: int) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.randn(64)}, {})
    path.write_bytes(path.read_bytes()[:keep])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert sha256_of(path) == digest
    with pytest.raises(IntegrityError, match=digest):
        read(path)


def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_file, "save_file", full)
    with pytest.raises(StorageError, match="No space left"):
        write_tensors(tmp_path / "t.safetensors", {"a": torch.ones(1)}, {})
    assert list(tmp_path.iterdir()) == []
