"""Measured weights of layers: the artefact that budgeted plans are made from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from liteasr.atomic import write_text
from liteasr.encoders import AttentionSite
from liteasr.errors import CalibrationError
from liteasr.record import known_fields, stored_object

__all__ = ["Sensitivity", "query_key_of", "value_output_of"]

VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """How far the encoder's output moves as a layer's output loses energy.

    Attributes:
        model: Name of the model.
        encoder_sha256: Fingerprint of the encoder's weights.
        windows: Windows of audio averaged over.
        curves: By name of the target, or of half an attention (`query_key_of`,
            `value_output_of`): the energy that a reduction drops (Σ_{i>k} λ_i) and how far the
            encoder's output moved then, at a few ranks, least first.
        calibration: Which calibration gave the spectra, in the words of `Provenance.task`; empty
            where that is not known.
        version: Version of this format.
    """

    model: str
    encoder_sha256: str
    windows: int
    curves: Mapping[str, Sequence[tuple[float, float]]]
    calibration: str = ""
    version: int = VERSION

    def loss(self, name: str, dropped: float) -> float:
        """How far the output is expected to move when that energy is dropped.

        A line through the probed points in logarithms; below the least and above the most the
        loss is proportional to the energy.
        """
        if dropped <= 0:
            return 0.0
        points = [(energy, moved) for energy, moved in self.curves[name] if energy > 0]
        if not points or min(moved for _, moved in points) <= 0:
            return 0.0
        energies, losses = zip(*points, strict=True)
        inside: float = min(max(dropped, energies[0]), energies[-1])
        logarithm: float = np.interp(np.log(inside), np.log(energies), np.log(losses))
        return math.exp(logarithm) * dropped / inside

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
        with stored_object(
            path, holds="sensitivities", version=VERSION, error=CalibrationError
        ) as value:
            known = known_fields(cls, value)
            curves = {
                n: tuple((float(x), float(y)) for x, y in c) for n, c in known["curves"].items()
            }
            return cls(**{**known, "curves": curves})


def query_key_of(site: AttentionSite) -> str:
    """Name of the curve of an attention's scores."""
    return f"{site.name}.query_key"


def value_output_of(site: AttentionSite) -> str:
    """Name of the curve of an attention's values."""
    return f"{site.name}.value_output"
