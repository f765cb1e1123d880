"""Putting a plan into effect, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from liteasr.encoders import (
    AttentionSite,
    MlpSite,
    adapter_for,
    affine_at,
    attention_weights,
    encoder_parameters,
)
from liteasr.errors import PlanError
from liteasr.lowrank import (
    Affine,
    Spectra,
    Spectrum,
    factorize,
    reduce_query_key,
    reduce_units,
    reduce_value_output,
)
from liteasr.nn import affine_of, chain_of, empty_chain
from liteasr.pivoting import pivot_, pivoted_layers
from liteasr.plan import LayerPlan, RankPlan, require_fit
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["CompressionReport", "compress_", "install_", "reduced_layers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionReport:
    """What became of the encoder.

    Attributes:
        parameters_before: Encoder parameters without positions, before.
        parameters_after: The same, after.
        replaced: Layers that were reduced.
        dense: Layers that stayed as they were.
    """

    parameters_before: int
    parameters_after: int
    replaced: int
    dense: int

    @property
    def kept(self) -> float:
        """Share of the encoder's parameters that is left, in (0, 1]."""
        return self.parameters_after / self.parameters_before


def compress_(
    speech: SpeechModel, plan: RankPlan, spectra: Spectra, *, track: Track = silent
) -> CompressionReport:
    """Replace the encoder's layers as the plan says, in place.

    All factors are computed before the first layer is replaced, so an error leaves the model
    as it was. Where the plan has pivots, weights that nothing needs are not kept (`pivot_`).

    Raises:
        PlanError: The plan does not fit this encoder.
    """
    require_fit(speech, plan)
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    before = encoder_parameters(speech.model)
    layers: dict[str, nn.Module] = {}
    for layer in track(plan, description="Factorizing", total=len(plan)):
        if layer.form == "chain":
            layers[layer.name] = _chain(encoder, layer, spectra)
    sites = adapter.attentions(encoder)
    for site in sites:
        layers |= _joint(encoder, site, plan, spectra)
    for mlp in adapter.mlps(encoder):
        layers |= _by_unit(encoder, mlp, plan, spectra)
    install_(speech.model, layers)
    pivot_(encoder, pivoted_layers(plan, sites))
    return CompressionReport(
        parameters_before=before,
        parameters_after=encoder_parameters(speech.model),
        replaced=len(layers),
        dense=len(plan) - len(layers),
    )


def install_(model: Any, layers: Mapping[str, nn.Module]) -> None:
    """Put reduced layers in the place of others, and attentions that can run narrower heads.

    An attention is replaced where a plain linear layer takes the place of one of its own: its
    heads have another width then. Names of parameters do not change.
    """
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    sites = adapter.attentions(encoder)
    for name, layer in layers.items():
        _replace(encoder, name, layer)
    for site in sites:
        names = (site.query, site.key, site.value, site.output)
        if any(isinstance(layers.get(name), nn.Linear) for name in names):
            _replace(encoder, site.name, adapter.narrowed(encoder, site))


def reduced_layers(model: Any, plan: RankPlan, *, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Empty modules in the shapes of a plan, to be filled from a checkpoint.

    Raises:
        AttributeError: The model has no layer of a name in the plan.
    """
    encoder = adapter_for(model).encoder(model)
    layers: dict[str, nn.Module] = {}
    for layer in plan:
        if layer.form == "dense":
            continue
        whole = encoder.get_submodule(layer.name)
        if layer.form != "chain":
            whole = nn.Linear(*layer.shape, dtype=dtype, device="meta")
        inner = layer.inner_width
        layers[layer.name] = whole if inner is None else empty_chain(whole, inner, dtype=dtype)
    return layers


def _chain(encoder: nn.Module, layer: LayerPlan, spectra: Spectra) -> nn.Module:
    dense = encoder.get_submodule(layer.name)
    assert layer.rank is not None
    try:
        factors = factorize(*affine_of(dense), spectra[layer.name], layer.rank)
    except (KeyError, ValueError) as error:
        raise PlanError(f"{layer.name} cannot have rank {layer.rank}: {error}") from error
    return chain_of(dense, factors)


def _joint(
    encoder: nn.Module, site: AttentionSite, plan: RankPlan, spectra: Spectra
) -> dict[str, nn.Module]:
    """The narrower layers of one attention."""
    made: dict[str, nn.Module] = {}
    if not (plan[site.query].joint or plan[site.value].joint):
        return made
    weights = attention_weights(encoder, site)
    try:
        spectrum = spectra.attentions[site.name]
    except KeyError as error:
        raise PlanError(f"the spectra hold nothing about {site.name}: make them again") from error
    if (rank := plan[site.query].rank) is not None and plan[site.query].joint:
        assert spectrum.query_key is not None
        query, key = reduce_query_key(weights, spectrum.query_key, rank)
        made |= {site.query: _linear(query), site.key: _linear(key)}
    if (rank := plan[site.value].rank) is not None and plan[site.value].joint:
        value, output = reduce_value_output(weights, spectrum.value_output, rank)
        made |= {site.value: _linear(value), site.output: _linear(output)}
    return made


def _by_unit(
    encoder: nn.Module, site: MlpSite, plan: RankPlan, spectra: Spectra
) -> dict[str, nn.Module]:
    """The narrower layers of one MLP, some of which are chains in turn."""
    if not plan[site.first].by_unit or (rank := plan[site.first].rank) is None:
        return {}
    try:
        units = spectra.mlps[site.second]
    except KeyError as error:
        raise PlanError(
            f"the spectra hold nothing about the units between {site.first} and {site.second}: "
            "calibrate with hidden units (--units) and make them again"
        ) from error
    first, second = affine_at(encoder, site.first), affine_at(encoder, site.second)
    narrow_first, narrow_second = reduce_units(first, second, units, rank)
    return {
        site.first: _linear_or_chain(
            narrow_first,
            plan[site.first].inner,
            lambda: spectra[site.first].of_outputs(units.kept(rank)),
        ),
        site.second: _linear_or_chain(
            narrow_second, plan[site.second].inner, lambda: spectra[site.second]
        ),
    }


def _linear_or_chain(
    affine: Affine, inner: int | None, spectrum: Callable[[], Spectrum]
) -> nn.Module:
    """One layer, or the chain of an inner width by the spectrum of its output."""
    whole = _linear(affine)
    return whole if inner is None else chain_of(whole, factorize(*affine, spectrum(), inner))


def _linear(affine: Affine) -> nn.Linear:
    out_features, in_features = affine.weight.shape
    layer = nn.Linear(in_features, out_features, device="meta")
    layer.weight, layer.bias = nn.Parameter(affine.weight), nn.Parameter(affine.bias)
    return layer


def _replace(encoder: nn.Module, name: str, module: nn.Module) -> None:
    path, _, attribute = name.rpartition(".")
    parent = encoder.get_submodule(path)
    module.train(parent.training)
    setattr(parent, attribute, module)
