"""Putting a plan into effect, in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.errors import PlanError
from liteasr.lowrank import Spectrum, factorize
from liteasr.nn import LowRankLinear
from liteasr.plan import LayerPlan, RankPlan
from liteasr.progress import Track, silent
from liteasr.sources import SpeechModel

__all__ = ["CompressionReport", "compress_", "reduced_layers", "replace_layers_"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionReport:
    """What became of the encoder.

    Attributes:
        parameters_before: Encoder parameters without positions, before.
        parameters_after: The same, after.
        replaced: Layers that became a chain.
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
    speech: SpeechModel,
    plan: RankPlan,
    spectra: Mapping[str, Spectrum],
    *,
    track: Track = silent,
) -> CompressionReport:
    """Replace the encoder's layers as the plan says, in place.

    All factors are computed before the first layer is replaced, so an error leaves the model
    as it was.

    Raises:
        PlanError: The plan does not fit this encoder.
    """
    encoder = adapter_for(speech.model).encoder(speech.model)
    before = encoder_parameters(speech.model)
    layers = {}
    for layer in track(plan, description="Factorizing", total=len(plan)):
        linear = _linear_of(encoder, layer)
        if layer.rank is not None:
            try:
                factors = factorize(linear.weight, linear.bias, spectra[layer.name], layer.rank)
            except (KeyError, ValueError) as error:
                raise PlanError(f"{layer.name} cannot have rank {layer.rank}: {error}") from error
            layers[layer.name] = LowRankLinear.from_factors(factors)
    replace_layers_(encoder, layers)
    return CompressionReport(
        parameters_before=before,
        parameters_after=encoder_parameters(speech.model),
        replaced=len(layers),
        dense=len(plan) - len(layers),
    )


def replace_layers_(encoder: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Put modules in the place of others, by dotted name."""
    for name, layer in layers.items():
        path, _, attribute = name.rpartition(".")
        parent = encoder.get_submodule(path)
        layer.train(parent.training)
        setattr(parent, attribute, layer)


def reduced_layers(plan: RankPlan, *, dtype: torch.dtype) -> dict[str, LowRankLinear]:
    """Empty modules in the shapes of a plan, to be filled from a checkpoint."""
    return {
        layer.name: LowRankLinear(
            layer.in_features, layer.out_features, layer.rank, dtype=dtype, device="meta"
        )
        for layer in plan
        if layer.rank is not None
    }


def _linear_of(encoder: nn.Module, layer: LayerPlan) -> nn.Linear:
    try:
        module: Any = encoder.get_submodule(layer.name)
    except AttributeError as error:
        raise PlanError(f"the plan names {layer.name}, which this encoder does not have") from error
    shape = (layer.in_features, layer.out_features)
    if not isinstance(module, nn.Linear):
        raise PlanError(f"{layer.name} is a {type(module).__name__}, not a dense layer")
    if (module.in_features, module.out_features) != shape:
        found = f"{module.in_features} -> {module.out_features}"
        raise PlanError(f"{layer.name} is {found}, the plan says {shape[0]} -> {shape[1]}")
    return module
