"""From moments to the spectrum of every target."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from torch import nn

from liteasr.calibration import Calibration
from liteasr.encoders import Target, adapter_for, encoder_fingerprint
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Moments, Spectrum, break_even_rank
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["spectra_of"]


def spectra_of(
    speech: SpeechModel, calibration: Calibration, *, track: Track = silent
) -> dict[str, Spectrum]:
    """PCA of the output of every target, by target name.

    Components past the break-even rank are dropped, since no plan can use them.

    Raises:
        CalibrationError: The moments belong to another encoder or are incomplete.
        PlanError: The encoder is compressed already.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    targets = adapter.targets(encoder)
    linears = _dense_linears(encoder, targets)
    if calibration.provenance.encoder_sha256 != encoder_fingerprint(speech.model):
        raise CalibrationError(
            f"the moments were taken from {calibration.provenance.model}, not from the weights "
            f"of {speech.name}: calibrate this model"
        )
    if not calibration.complete:
        done, total = calibration.provenance.utterances, calibration.provenance.corpus_utterances
        raise CalibrationError(f"calibration stopped at {done} of {total} utterances: resume it")
    return {
        target.name: _spectrum(target, linears[target.name], calibration.moments)
        for target in track(targets, description="Spectra", total=len(targets))
    }


def _dense_linears(encoder: nn.Module, targets: Iterable[Target]) -> dict[str, nn.Linear]:
    linears = {}
    for target in targets:
        module = encoder.get_submodule(target.name)
        if not isinstance(module, nn.Linear):
            raise PlanError(
                f"{target.name} is a {type(module).__name__}, not a dense layer: "
                "compress the original model instead"
            )
        linears[target.name] = module
    return linears


def _spectrum(target: Target, linear: nn.Linear, moments: dict[str, Moments]) -> Spectrum:
    found = moments[target.observation.key]
    if target.observation.side == "output":
        spectrum = Spectrum.from_output_moments(found)
    else:
        spectrum = Spectrum.from_input_moments(found, linear.weight, linear.bias)
    return spectrum.truncated(ceil(break_even_rank(target.in_features, target.out_features)))
