"""Hugging Face datasets, local or from the hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from liteasr._optional import require
from liteasr.corpus.utterance import Utterance
from liteasr.errors import CorpusError

__all__ = ["read_dataset"]

TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript", "norm_text")
LANGUAGE_COLUMNS = ("language", "lang", "locale")


def read_dataset(name: str, *, text_column: str | None = None) -> tuple[Utterance, ...]:
    """Read ``ID[:CONFIG][@SPLIT]``, where ID is a hub id or a local directory.

    The audio is decoded here, so no decoder of the ``datasets`` package is needed, and its bytes
    stay in the dataset's files until an utterance is loaded. The split defaults to ``test``, or
    to the only one.

    Args:
        name: The dataset.
        text_column: Column of the texts; found by its usual names where left out.

    Raises:
        CorpusError: There is no such dataset, split, audio or text column.
        MissingDependencyError: The package ``datasets`` is not installed.
    """
    datasets = require("datasets", extra="datasets")
    table = _opened(datasets, name)
    column = next(
        (
            key
            for key, kind in table.features.items()
            if isinstance(kind, datasets.Audio) or (key == "audio" and isinstance(kind, dict))
        ),
        None,
    )
    if column is None:
        raise CorpusError(f"{name} has no audio column: it has {', '.join(table.column_names)}")
    if text_column is not None and text_column not in table.column_names:
        raise CorpusError(f"{name} has no column {text_column}: {', '.join(table.column_names)}")
    table = table.cast_column(column, datasets.Audio(decode=False))
    texts = TEXT_COLUMNS if text_column is None else (text_column,)
    return tuple(_utterance(table, column, texts, number, name) for number in range(len(table)))


def _opened(datasets: Any, name: str) -> Any:
    identifier, config, split = _parts(name)
    try:
        if Path(identifier).is_dir() and _is_saved(Path(identifier)):
            found = datasets.load_from_disk(identifier)
        else:
            found = datasets.load_dataset(identifier, config or None)
    except Exception as error:  # datasets raises dozens of kinds
        raise CorpusError(f"cannot open dataset {identifier}: {error}") from error
    if not isinstance(found, dict):
        if split and split != str(found.split):
            raise CorpusError(f"{identifier} is one table without splits: leave out @{split}")
        return found
    wanted = split or ("test" if "test" in found else "")
    if not wanted and len(found) == 1:
        wanted = next(iter(found))
    if wanted not in found:
        raise CorpusError(
            f"{identifier} has the splits {', '.join(found)}, not {wanted or 'test'!r}: "
            f"write hf:{identifier}@SPLIT"
        )
    return found[wanted]


def _parts(name: str) -> tuple[str, str, str]:
    if Path(name).is_dir():
        return name, "", ""  # its own name may hold an @ or a colon
    identifier, _, split = name.partition("@")
    identifier, _, config = identifier.partition(":")
    return identifier, config, split


def _is_saved(folder: Path) -> bool:
    return (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()


def _utterance(
    table: Any, column: str, texts: tuple[str, ...], number: int, name: str
) -> Utterance:
    row = table[number]
    cell = row[column] or {}
    path = cell.get("path")
    audio: Path | partial[bytes]
    if cell.get("bytes") is not None:
        audio = partial(_bytes, table, column, number)
    elif path:
        audio = Path(path)
    else:
        raise CorpusError(f"{name}, row {number}: {column!r} holds neither bytes nor a path")
    text = next((row[key] for key in texts if isinstance(row.get(key), str)), None)
    language = next((row[key] for key in LANGUAGE_COLUMNS if isinstance(row.get(key), str)), None)
    return Utterance(
        id=str(row.get("id") or path or number) + f"#{number}",
        audio=audio,
        text=text,
        language=language,
    )


def _bytes(table: Any, column: str, number: int) -> bytes:
    content: bytes = table[number][column]["bytes"]
    return content
