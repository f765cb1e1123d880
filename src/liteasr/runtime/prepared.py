"""What a model was made into on this machine, so that it opens without PyTorch the next time.

Opening a model for a CPU exports its encoder and converts its decoders, into files that the cache
keeps. A small record beside them says which of them serve a model. It is found by the model's own
files (their paths, sizes and times of change) and by all else that the choice depends on; where
anything is different or gone, the model is opened as if for the first time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from liteasr._optional import is_installed
from liteasr.atomic import write_text
from liteasr.errors import StorageError
from liteasr.export.kept import DECODER_LAYOUT, ENCODER_LAYOUT, GREEDY_LAYOUT, kept_as
from liteasr.runtime.decoder_parts import DecoderParts, SpecialTokens
from liteasr.runtime.encoder_files import EncoderFile
from liteasr.runtime.hardware import EncoderKind
from liteasr.sources.bundled import bundled_models, cache_directory
from liteasr.sources.hub import download_folder, is_hub_id, read_config
from liteasr.sources.resolve import COMPRESSED_TYPES

__all__ = ["Prepared", "find_prepared", "keep_prepared", "record_of"]

logger = logging.getLogger(__name__)

VERSION = 1  # of the records
OPENED_WHOLE = (*COMPRESSED_TYPES, None)  # repositories of the hub: ours, and CTranslate2's


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a transcriber is made of.

    Attributes:
        encoder: An exported encoder.
        decoder: The decoders and what decoding has to know.
    """

    encoder: EncoderFile
    decoder: DecoderParts


def record_of(ref: str | os.PathLike[str], kind: EncoderKind, compute_type: str) -> Path | None:
    """Where the record of a model is kept, whether it is there or not.

    Args:
        ref: What `load_model` opens.
        kind: What encodes.
        compute_type: Of CTranslate2.

    Returns:
        None for what is no file or folder here, such as a transformers model of the hub, and for
        encoders that PyTorch computes. Compressed models of the hub are looked for there first.

    Raises:
        MissingDependencyError: The extra ``faster-whisper`` is not installed.
        SourceError: The hub has no such model, or cannot be reached.
    """
    files = _files_of(ref)
    if not files or kind.startswith("torch"):
        return None
    depends = {
        "files": [(str(file), *_state(file)) for file in files],
        "encoder": kind,
        "decoder": [compute_type, kept_as(compute_type), _greedy_is_installed()],
        "versions": [version("liteasr"), VERSION, DECODER_LAYOUT, ENCODER_LAYOUT, GREEDY_LAYOUT],
    }
    name = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32]
    return cache_directory() / "prepared" / f"{name}.json"


def keep_prepared(record: Path, prepared: Prepared) -> None:
    """Write a record; a cache that cannot be written only makes the next start slower.

    None is written of a model whose greedy decoder could not be made: another start may succeed.
    """
    decoder = prepared.decoder
    if decoder.compute_type == "auto" and decoder.greedy is None and _greedy_is_installed():
        return
    home = cache_directory()
    values = asdict(prepared)
    for part, name in (("encoder", "path"), ("decoder", "directory"), ("decoder", "greedy")):
        if (path := values[part][name]) is not None:
            values[part][name] = path.relative_to(home).as_posix()  # the cache may move
    try:
        write_text(record, json.dumps(values))
    except StorageError as error:
        logger.info("the next start is as slow: %s", error)


def find_prepared(record: Path) -> Prepared | None:
    """Read a record whose files are all there."""
    if not record.is_file():
        return None
    try:
        found = _read(json.loads(record.read_text(encoding="utf-8")), cache_directory())
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.info("%s is not readable, so the model is opened anew: %r", record, error)
        return None
    places = (found.encoder.path, found.decoder.directory, found.decoder.greedy)
    return found if all(place is None or place.exists() for place in places) else None


def _read(values: Mapping[str, Any], home: Path) -> Prepared:
    encoder, decoder = values["encoder"], dict(values["decoder"])
    tokens = decoder.pop("tokens")
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        tokens[name] = tuple(tokens[name])
    decoder["directory"] = home / decoder["directory"]
    if decoder["greedy"] is not None:
        decoder["greedy"] = home / decoder["greedy"]
    return Prepared(
        EncoderFile(encoder["kind"], home / encoder["path"]),
        DecoderParts(tokens=SpecialTokens(**tokens), **decoder),
    )


def _files_of(ref: str | os.PathLike[str]) -> list[Path]:
    place, name = Path(ref).expanduser(), os.fspath(ref)
    if not place.exists() and name in {asset.name for asset in bundled_models()}:
        place = cache_directory() / name
    elif is_hub_id(name) and read_config(name).get("model_type") in OPENED_WHOLE:
        place = download_folder(name)
    place = place.absolute()
    if place.is_dir():
        return sorted(path for path in place.iterdir() if path.is_file())
    return [place] if place.is_file() else []


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _greedy_is_installed() -> bool:
    return is_installed("onnx") and is_installed("onnxruntime")
