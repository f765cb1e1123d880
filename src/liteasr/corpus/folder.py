"""Folders of audio and text files of paths."""

from __future__ import annotations

import os
from pathlib import Path

from liteasr.corpus.manifest import read_manifest
from liteasr.corpus.utterance import Utterance, identifier
from liteasr.errors import CorpusError

__all__ = ["AUDIO_SUFFIXES", "read_folder", "read_path_list", "read_recording"]

_FORMATS = (
    "3gp|aac|aif|aiff|amr|caf|flac|g722|m4a|mka|mkv|mov|mp3|mp4|mpeg|mpga|oga|ogg|opus|wav|webm|wma"
)
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _FORMATS.split("|"))


def read_folder(path: str | os.PathLike[str]) -> tuple[Utterance, ...]:
    """Read all audio in a folder, sorted, deep.

    A ``manifest.jsonl`` in the folder is used where there is one. Otherwise a ``.txt`` file with
    the name of a recording holds its text.

    Raises:
        CorpusError: The manifest is wrong, or a text cannot be read.
    """
    root = Path(path)
    if (root / "manifest.jsonl").is_file():
        return read_manifest(root / "manifest.jsonl")
    files = sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith("._")  # macOS junk
    )
    return tuple(read_recording(file, root) for file in files if file.is_file())


def read_path_list(path: str | os.PathLike[str]) -> tuple[Utterance, ...]:
    """Read a text file with one path a line; blank lines and ``# comments`` are skipped.

    Raises:
        CorpusError: A file is missing; the line number is named. Or a text cannot be read.
    """
    listing = Path(path)
    found = []
    try:
        lines = listing.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"cannot read {listing}: {error}") from error
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        audio = listing.parent / name
        if not os.path.isfile(audio):
            raise CorpusError(f"{listing}, line {number}: {audio} does not exist")
        found.append(read_recording(audio, listing.parent))
    return tuple(found)


def read_recording(audio: Path, root: Path) -> Utterance:
    """Describe one recording, with the text of the ``.txt`` beside it.

    Raises:
        CorpusError: The text cannot be read.
    """
    beside = audio.with_suffix(".txt")
    try:
        text = beside.read_text(encoding="utf-8-sig").strip() if beside.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"cannot read the text {beside} (UTF-8): {error}") from error
    return Utterance(id=identifier(audio, root), audio=audio, text=text)
