"""Measured weights of layers: the artefact that budgeted plans are made from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from liteasr.atomic import write_text
from liteasr.errors import CalibrationError

__all__ = ["Sensitivity"]

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """How much each layer matters, per unit of energy that its output loses.

    Attributes:
        model: Name of the model.
        encoder_sha256: Fingerprint of the encoder's weights.
        windows: Windows of audio averaged over.
        weights: Weight by target name.
        version: Version of this format.
    """

    model: str
    encoder_sha256: str
    windows: int
    weights: Mapping[str, float]
    version: int = VERSION

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sensitivity:
        """Read what `save` wrote.

        Raises:
            CalibrationError: There is no such file, or it does not hold sensitivities.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
            if value["version"] > VERSION:
                raise CalibrationError(f"{path} has version {value['version']}: upgrade liteasr")
            names = ("model", "encoder_sha256", "windows", "weights", "version")
            return cls(**{name: value[name] for name in names})
        except OSError as error:
            raise CalibrationError(f"cannot read {path}: {error.strerror}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"{path} does not hold sensitivities: {error}") from error
