"""What a checkpoint directory says about itself, in ``liteasr.json``.

::

    config.json               model_type "liteasr" and the original configuration
    model.safetensors         weights under the names of the live modules (or shards)
    generation_config.json    languages, tasks, suppressed tokens, alignment heads
    processor files           as transformers writes them
    liteasr.json              format version, rank plan, provenance, SHA-256 of the weights
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from liteasr.calibration import Provenance
from liteasr.compression import CompressionReport
from liteasr.errors import CheckpointError, IntegrityError
from liteasr.integrity import sha256_of
from liteasr.plan import RankPlan

__all__ = ["MANIFEST_NAME", "MODEL_TYPES", "Manifest", "is_checkpoint", "read_config"]

log = logging.getLogger(__name__)

MANIFEST_NAME = "liteasr.json"
VERSION = 1
MODEL_TYPES = ("liteasr", "lite-whisper")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The versioned schema of ``liteasr.json``.

    Attributes:
        name: Name of the model that was compressed.
        origin: Where its weights came from.
        plan: The rank plan in effect.
        report: Encoder sizes before and after.
        calibration: Which audio chose the components; None where it is not known.
        files: SHA-256 of every weights file.
        version: Version of this format.
    """

    name: str
    origin: str
    plan: RankPlan
    report: CompressionReport
    calibration: Provenance | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> str:
        """The text of ``liteasr.json``."""
        return json.dumps({**asdict(self), "plan": self.plan.to_dict()}, indent=2) + "\n"

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read ``liteasr.json``; keys of a later minor version are dropped and logged.

        Raises:
            CheckpointError: The file is missing, damaged or of a newer format.
        """
        path = directory / MANIFEST_NAME
        value = _read_json(path)
        if not isinstance(value.get("version"), int) or value["version"] > VERSION:
            raise CheckpointError(
                f"{path} has format version {value.get('version')!r}, this liteasr reads up to "
                f"{VERSION}: upgrade liteasr"
            )
        known = {item.name for item in fields(cls)}
        if dropped := sorted(set(value) - known):
            log.warning("%s: dropping unknown keys %s", path, ", ".join(dropped))
        try:
            calibration = value.get("calibration")
            return cls(
                name=value["name"],
                origin=value["origin"],
                plan=RankPlan.from_dict(value["plan"]),
                report=CompressionReport(**value["report"]),
                calibration=None if calibration is None else Provenance(**calibration),
                files=value["files"],
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is incomplete: {error}") from error

    def verify(self, directory: Path) -> None:
        """Check every weights file against its SHA-256.

        Raises:
            CheckpointError: A file is missing.
            IntegrityError: A file is truncated or tampered with; both hashes are named.
        """
        for name, expected in self.files.items():
            path = directory / name
            if not path.is_file():
                raise CheckpointError(f"{path} is missing: copy the whole checkpoint directory")
            found = sha256_of(path)
            if found != expected:
                raise IntegrityError(
                    f"{path} is truncated or was changed: SHA-256 is {found}, the checkpoint "
                    f"was saved with {expected}; copy or save it again"
                )


def is_checkpoint(directory: Path) -> bool:
    """Whether a directory holds a compressed model, in our layout or the published one."""
    try:
        return read_config(directory).get("model_type") in MODEL_TYPES
    except CheckpointError:
        return False


def read_config(directory: Path) -> dict[str, Any]:
    """Read ``config.json`` of a checkpoint directory.

    Raises:
        CheckpointError: It is missing or not JSON.
    """
    return _read_json(directory / "config.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged, it does not hold JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected an object")
    return value
