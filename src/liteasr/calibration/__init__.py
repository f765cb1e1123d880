"""Unlabelled audio in, moments of the encoder's activations out."""

from liteasr.calibration.artefact import Calibration, FrameChoice, Provenance
from liteasr.calibration.observation import observing
from liteasr.calibration.session import FRAMES_PER_WIDTH, calibrate

__all__ = [
    "FRAMES_PER_WIDTH",
    "Calibration",
    "FrameChoice",
    "Provenance",
    "calibrate",
    "observing",
]
