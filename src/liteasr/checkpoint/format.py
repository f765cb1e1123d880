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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from liteasr.calibration import Provenance
from liteasr.compression import CompressionReport
from liteasr.errors import CheckpointError, IntegrityError
from liteasr.integrity import sha256_of
from liteasr.plan import RankPlan
from liteasr.record import known_fields
from liteasr.refinement_report import RefinementReport
from liteasr.sources.resolve import COMPRESSED_TYPES

__all__ = ["MANIFEST_NAME", "Manifest", "is_checkpoint", "read_config", "verified"]

MANIFEST_NAME = "liteasr.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The versioned schema of ``liteasr.json``.

    Attributes:
        name: Name of the model that was compressed.
        origin: Where its weights came from.
        plan: The rank plan in effect.
        report: Encoder sizes before and after.
        files: SHA-256 of every weights file.
        calibration: Which audio chose the components; None where it is not known.
        refinement: How the encoder was trained afterwards; None where it was not.
        version: Version of this format.
    """

    name: str
    origin: str
    plan: RankPlan
    report: CompressionReport
    files: Mapping[str, str]
    calibration: Provenance | None = None
    refinement: RefinementReport | None = None
    version: int = VERSION

    def to_json(self) -> str:
        """The text of ``liteasr.json``."""
        value = {**asdict(self), "plan": self.plan.to_dict()}
        if self.refinement is not None:
            value["refinement"] = self.refinement.to_dict()
        return json.dumps(value, indent=2) + "\n"

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
        try:
            known = known_fields(cls, value)
            report = CompressionReport(**known_fields(CompressionReport, known["report"]))
            if (calibration := known.get("calibration")) is not None:
                calibration = Provenance(**known_fields(Provenance, calibration))
            if (refinement := known.get("refinement")) is not None:
                refinement = RefinementReport.from_dict(refinement)
            read = {
                "plan": RankPlan.from_dict(known["plan"]),
                "report": report,
                "calibration": calibration,
                "refinement": refinement,
            }
            return cls(**{**known, **read})
        except ValueError as error:
            raise CheckpointError(f"{path} is incomplete or damaged: {error}") from error

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


@contextmanager
def verified(manifest: Manifest | None, folder: Path) -> Iterator[None]:
    """Hash the weights while they are put to use; damage is the reason for whatever fails there.

    Args:
        manifest: Holds the hashes; None where nothing is to be checked.
        folder: Where the weights are.

    Raises:
        CheckpointError: A file is missing.
        IntegrityError: A file is truncated or tampered with.
    """
    if manifest is None:
        yield
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        verification = pool.submit(manifest.verify, folder)
        try:
            yield
        finally:
            verification.result()


def is_checkpoint(directory: Path) -> bool:
    """Whether a directory holds a compressed model, in our layout or the published one."""
    try:
        return read_config(directory).get("model_type") in COMPRESSED_TYPES
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
