"""Models and corpora under evaluation: what they are called, and when they are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from liteasr.runtime import Transcriber

__all__ = ["Candidate", "corpus_labels", "identity_of", "model_labels"]

MANIFEST = "liteasr.json"  # of a checkpoint: it holds the SHA-256 of the weights
SMALL_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model that is opened when its turn comes, and not at all where its results are kept.

    Attributes:
        label: What tables call it.
        open: Loads it.
        identity: Changes when the model does, see `identity_of`.
    """

    label: str
    open: Callable[[], Transcriber]
    identity: str = ""


def identity_of(ref: str | os.PathLike[str]) -> str:
    """Tell models apart without reading their weights.

    The SHA-256 of a checkpoint's manifest; for other folders and files, of the names, the sizes,
    the small files' contents and the large files' times; for what is no path, its name.
    """
    path = Path(ref).expanduser()
    if not path.exists():
        return str(ref)
    manifest = path / MANIFEST
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    found = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if not file.is_file():
            continue
        stat = file.stat()
        small = stat.st_size < SMALL_BYTES
        found.update(f"{file.relative_to(path)} {stat.st_size} ".encode())
        found.update(file.read_bytes() if small else str(stat.st_mtime_ns).encode())
    return found.hexdigest()


def model_labels(refs: Iterable[str]) -> dict[str, str]:
    """Name models by the last part of their path, by reference; twins by all of it."""
    return _distinct({ref: Path(ref).resolve().name for ref in refs})


def corpus_labels(refs: Iterable[str]) -> dict[str, str]:
    """Name corpora by folder, file or dataset, by reference; twins by the whole reference."""
    return _distinct({ref: _corpus_label(ref) for ref in refs})


def _corpus_label(ref: str) -> str:
    scheme, colon, rest = ref.partition(":")
    if colon and scheme in ("hf", "open-asr"):
        return rest.rstrip("/").rsplit("/", 1)[-1]
    path = Path(ref).resolve()
    return path.parent.name if path.name == "manifest.jsonl" else path.stem


def _distinct(labels: dict[str, str]) -> dict[str, str]:
    counts = list(labels.values())
    return {ref: label if counts.count(label) == 1 else ref for ref, label in labels.items()}
