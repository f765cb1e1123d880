"""From moments to the spectra of every target and of every attention."""

from __future__ import annotations

from math import ceil

from torch import nn

from liteasr.calibration import Calibration
from liteasr.encoders import (
    AttentionSite,
    Target,
    adapter_for,
    attention_weights,
    encoder_fingerprint,
    require_dense,
)
from liteasr.errors import CalibrationError
from liteasr.lowrank import (
    AttentionSpectrum,
    Moments,
    QueryKeySpectrum,
    Spectra,
    Spectrum,
    ValueOutputSpectrum,
    break_even_rank,
)
from liteasr.nn import affine_of
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["spectra_of"]


def spectra_of(speech: SpeechModel, calibration: Calibration, *, track: Track = silent) -> Spectra:
    """PCA of the output of every target, and what each head of an attention carries.

    Components past the break-even rank are dropped, since no plan can use them.

    Raises:
        CalibrationError: The moments belong to another encoder or are incomplete.
        PlanError: The encoder is compressed already.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    require_dense(speech.model, speech.name)
    targets = adapter.targets(encoder)
    if calibration.provenance.encoder_sha256 != encoder_fingerprint(speech.model):
        raise CalibrationError(
            f"the moments were taken from {calibration.provenance.model}, not from the weights "
            f"of {speech.name}: calibrate this model"
        )
    if not calibration.complete:
        done, total = calibration.provenance.utterances, calibration.provenance.corpus_utterances
        raise CalibrationError(f"calibration stopped at {done} of {total} utterances: resume it")
    sites = adapter.attentions(encoder)
    moments = calibration.moments
    places = {target.name: target.observation.key for target in targets}
    layers: dict[str, Spectrum] = {}
    attentions: dict[str, AttentionSpectrum] = {}
    everything: list[Target | AttentionSite] = [*targets, *sites]
    for item in track(everything, description="Spectra", total=len(everything)):
        if isinstance(item, AttentionSite):
            attentions[item.name] = _attention(encoder, item, moments, places)
        else:
            layers[item.name] = _spectrum(item, encoder.get_submodule(item.name), moments)
    return Spectra(layers, attentions)


def _spectrum(target: Target, layer: nn.Module, moments: dict[str, Moments]) -> Spectrum:
    found = moments[target.observation.key]
    if target.observation.side == "output":
        spectrum = Spectrum.from_output_moments(found)
    else:
        spectrum = Spectrum.from_input_moments(found, *affine_of(layer))
    return spectrum.truncated(ceil(break_even_rank(target.in_features, target.out_features)))


def _attention(
    encoder: nn.Module, site: AttentionSite, moments: dict[str, Moments], places: dict[str, str]
) -> AttentionSpectrum:
    weights = attention_weights(encoder, site)
    return AttentionSpectrum(
        query_key=None
        if site.rotary
        else QueryKeySpectrum.of(weights, moments[places[site.query]]),
        value_output=ValueOutputSpectrum.of(weights, moments[places[site.output]]),
    )
