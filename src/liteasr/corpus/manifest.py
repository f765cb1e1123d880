"""JSONL manifests: one utterance a line, with our keys or NeMo's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from liteasr.atomic import write_text
from liteasr.corpus.utterance import Utterance, identifier
from liteasr.errors import CorpusError

__all__ = ["read_manifest", "write_manifest"]

AUDIO_KEYS = ("audio", "audio_filepath")
LANGUAGE_KEYS = ("language", "lang")


def read_manifest(path: str | os.PathLike[str]) -> tuple[Utterance, ...]:
    """Read a manifest; relative audio paths are relative to it.

    Keys: ``audio`` or ``audio_filepath``; optional ``text``, ``duration``, ``offset`` (seconds),
    ``language`` or ``lang``, ``speaker``. Blank lines are skipped.

    Raises:
        CorpusError: A line is wrong or its audio is missing; the line number is named.
    """
    manifest = Path(path)
    try:
        lines = manifest.read_text(encoding="utf-8-sig").split("\n")  # a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"cannot read manifest {manifest}: {error}") from error
    return tuple(
        _utterance(line, f"{manifest}, line {number}", manifest.parent)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def write_manifest(path: str | os.PathLike[str], utterances: Iterable[Utterance]) -> None:
    """Write a manifest with our keys, whole or not at all; paths relative to it where possible.

    Raises:
        CorpusError: An utterance's audio is not a file.
        StorageError: The disk refused.
    """
    lines = []
    for utterance in utterances:
        if not isinstance(utterance.audio, Path):
            raise CorpusError(f"{utterance.id}: audio in memory has no path to write down")
        values = {
            "audio": identifier(utterance.audio, Path(path).parent),
            "text": utterance.text,
            "duration": utterance.duration_s,
            "offset": utterance.offset_s,
            "language": utterance.language,
            "speaker": utterance.speaker,
        }
        known = {key: value for key, value in values.items() if value is not None}
        lines.append(json.dumps(known, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def _utterance(line: str, where: str, root: Path) -> Utterance:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON ({error}): write one object a line") from error
    if not isinstance(value, dict):
        raise CorpusError(f"{where}: expected an object, got {type(value).__name__}")
    name = next((value[key] for key in AUDIO_KEYS if key in value), None)
    if not isinstance(name, str) or not name:
        raise CorpusError(f"{where}: needs 'audio' (or NeMo's 'audio_filepath') with a path")
    audio = root / name
    if not os.path.isfile(audio):  # Path.is_file raises for a name that is too long
        raise CorpusError(f"{where}: {audio} does not exist; paths are relative to the manifest")
    offset_s = _number(value, "offset", where)
    return Utterance(
        id=identifier(audio, root) + ("" if offset_s is None else f"@{offset_s:.12g}"),
        audio=audio,
        text=_text(value, ("text",), where),
        language=_text(value, LANGUAGE_KEYS, where),
        duration_s=_number(value, "duration", where),
        offset_s=offset_s,
        speaker=_text(value, ("speaker",), where),
    )


def _text(value: dict[str, Any], keys: tuple[str, ...], where: str) -> str | None:
    found = next((value[key] for key in keys if value.get(key) is not None), None)
    if found is not None and not isinstance(found, str):
        raise CorpusError(f"{where}: {keys[0]!r} must be a string, got {found!r}")
    return found


def _number(value: dict[str, Any], key: str, where: str) -> float | None:
    found = value.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e9:
        raise CorpusError(f"{where}: {key!r} must be seconds, 0 or more, got {found!r}")
    return float(found)
