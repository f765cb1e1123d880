"""From moments to the spectra of every target, every attention and every MLP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn

from liteasr.calibration import Calibration
from liteasr.encoders import (
    AttentionSite,
    MlpSite,
    Target,
    adapter_for,
    affine_at,
    attention_weights,
    encoder_fingerprint,
    require_dense,
)
from liteasr.errors import CalibrationError
from liteasr.lowrank import (
    AttentionSpectrum,
    Elimination,
    Gradients,
    HiddenUnits,
    Metric,
    Moments,
    QueryKeySpectrum,
    Spectra,
    Spectrum,
    ValueOutputSpectrum,
)
from liteasr.nn import affine_of
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["spectra_of"]

log = logging.getLogger(__name__)


def spectra_of(
    speech: SpeechModel,
    calibration: Calibration,
    *,
    units: bool = True,
    weighed: bool = True,
    eliminations: Mapping[str, Elimination] = MappingProxyType({}),
    track: Track = silent,
) -> Spectra:
    """PCA of the output of every target, and what each head of an attention carries.

    Errors are measured in the `Metric` of the readings, where the calibration took them: by how
    far they move the encoder's output. Components past the rank of the layer are dropped, since no
    plan can use them.

    Args:
        speech: The model, not compressed.
        calibration: What `calibrate` gave.
        units: Whether to find which hidden units MLPs may lose: the slow part, which only plans
            by a budget use.
        weighed: Whether to use the metric; the paper's rule does not.
        eliminations: Those of the same calibration that are known already, by name of the layer
            that reads the hidden vector.
        track: Shows progress.

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
    mlps: dict[str, HiddenUnits] = {}
    observed = _observed(adapter.mlps(encoder), calibration) if units else ()
    weighed = weighed and _was_read(calibration)
    readings = calibration.readings if weighed else {}
    everything: list[Target | AttentionSite | MlpSite] = [*targets, *sites, *observed]
    for item in track(everything, description="Spectra", total=len(everything)):
        if isinstance(item, AttentionSite):
            metric = _metric(readings, item.output)
            attentions[item.name] = _attention(encoder, item, moments, places, metric)
        elif isinstance(item, MlpSite):
            halves, known = calibration.hidden[item.hidden.key], eliminations.get(item.second)
            weight = affine_at(encoder, item.second).weight.detach().to(torch.float64)
            metric = _metric(readings, item.second)
            weighed_rows = weight if metric is None else metric.weigh(weight)
            mlps[item.second] = HiddenUnits.of(weighed_rows, halves, known)
        else:
            layer, metric = encoder.get_submodule(item.name), _metric(readings, item.name)
            layers[item.name] = _spectrum(item, layer, moments, metric)
    for item in adapter.convolutions(encoder):
        if item.observation.key in moments:  # which calibrations of before do not have
            layers[item.name] = _spectrum(item, encoder.get_submodule(item.name), moments, None)
    return Spectra(layers, attentions, mlps, weighed=weighed)


def _was_read(calibration: Calibration) -> bool:
    if not calibration.readings:
        log.info(
            "the calibration took no readings of the encoder's output: errors of layers count as "
            "they are, which costs accuracy; calibrate again to weigh them"
        )
    return bool(calibration.readings)


def _metric(readings: Mapping[str, Gradients], name: str) -> Metric | None:
    """Of one layer: those of all layers at once would take as much memory as the moments."""
    gradients = readings.get(name)
    return None if gradients is None else Metric.of(gradients)


def _observed(sites: tuple[MlpSite, ...], calibration: Calibration) -> tuple[MlpSite, ...]:
    """MLPs whose hidden vectors were seen in both halves of the audio."""
    found = []
    for site in sites:
        halves = calibration.hidden.get(site.hidden.key, ())
        if halves and all(half.count for half in halves):
            found.append(site)
    if len(found) < len(sites):
        log.info(
            "the calibration has no moments of the hidden units of MLPs, which take two recordings "
            "or more: plans cannot remove units; calibrate again with them (--units)"
        )
    return tuple(found)


def _spectrum(
    target: Target, layer: nn.Module, moments: dict[str, Moments], metric: Metric | None
) -> Spectrum:
    found = moments[target.observation.key]
    if target.observation.side == "output":
        spectrum = Spectrum.from_output_moments(found, metric)
    else:
        spectrum = Spectrum.from_input_moments(found, *affine_of(layer), metric)
    return spectrum.truncated(min(target.in_features, target.out_features))


def _attention(
    encoder: nn.Module,
    site: AttentionSite,
    moments: dict[str, Moments],
    places: dict[str, str],
    metric: Metric | None,
) -> AttentionSpectrum:
    weights = attention_weights(encoder, site)
    return AttentionSpectrum(
        query_key=None
        if site.rotary
        else QueryKeySpectrum.of(weights, moments[places[site.query]]),
        value_output=ValueOutputSpectrum.of(weights, moments[places[site.output]], metric),
    )
