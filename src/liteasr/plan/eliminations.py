"""Which hidden units go first: worth keeping, since it takes seconds for every MLP."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from liteasr.atomic import write_text
from liteasr.errors import CalibrationError
from liteasr.lowrank import Elimination, Spectra
from liteasr.record import known_fields, stored_object

__all__ = ["Eliminations"]

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Eliminations:
    """The eliminations of all MLPs, from one calibration.

    Attributes:
        calibration: Which one, in the words of `Provenance.task`.
        mlps: By name of the layer that reads the hidden vector.
        version: Version of this format.
    """

    calibration: str
    mlps: Mapping[str, Elimination]
    version: int = VERSION

    @classmethod
    def of(cls, spectra: Spectra, calibration: str) -> Eliminations:
        """Those that spectra were made with."""
        return cls(
            calibration=calibration,
            mlps={name: units.elimination for name, units in spectra.mlps.items()},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Eliminations:
        """Read what `save` wrote.

        Raises:
            CalibrationError: There is no such file, or it does not hold eliminations.
        """
        with stored_object(
            path, holds="eliminations", version=VERSION, error=CalibrationError
        ) as value:
            known = known_fields(cls, value)
            mlps = {name: _elimination(found) for name, found in known["mlps"].items()}
            return cls(**{**known, "mlps": mlps})


def _elimination(value: object) -> Elimination:
    known = known_fields(Elimination, value)
    losses = {int(count): float(loss) for count, loss in known["losses"].items()}
    return Elimination(**{**known, "order": tuple(known["order"]), "losses": losses})
