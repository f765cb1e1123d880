"""What an encoder is made of: its layers with their sizes, costs and break-even ranks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.lowrank import Spectra, break_even_rank
from liteasr.nn import sizes_of
from liteasr.plan.flops import count_flops
from liteasr.sources import SpeechModel

__all__ = ["Anatomy", "LayerAnatomy", "anatomy_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerAnatomy:
    """One layer that may be reduced, or has been.

    Attributes:
        name: Dotted name inside the encoder.
        group: Which of the paper's two thresholds applies.
        in_features: Width of x.
        out_features: Width of y.
        kind: Class of the module that is there.
        parameters: All of that module's.
        flops: For one whole window.
        break_even: The rank from which a chain costs more than the dense layer.
        effective_rank: How many directions the layer's output really uses; None where it was not
            measured.
    """

    name: str
    group: str
    in_features: int
    out_features: int
    kind: str
    parameters: int
    flops: float
    break_even: float
    effective_rank: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """A whole encoder.

    Attributes:
        model: Name of the model.
        architecture: Class of the encoder.
        window_s: Longest window that it takes at once, in seconds.
        positions: That it attends over in such a window.
        parameters: Of the encoder without positions.
        flops: For one whole window.
        joint: Attentions that may be reduced by head, and whether queries and keys may.
        units: MLPs that may lose hidden units, by the layer that reads them, and how many there
            are.
        layers: In the order in which they run.
    """

    model: str
    architecture: str
    window_s: float
    positions: int
    parameters: int
    flops: float
    joint: dict[str, bool]
    units: dict[str, int]
    layers: tuple[LayerAnatomy, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)


def anatomy_of(speech: SpeechModel, spectra: Spectra | None = None) -> Anatomy:
    """Look at an encoder, dense or reduced.

    Args:
        speech: The model.
        spectra: What `spectra_of` gave, for the effective ranks.

    Raises:
        UnsupportedModelError: No adapter knows the model.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    counted = count_flops(speech.model)
    layers = []
    for target in adapter.targets(encoder):
        module = encoder.get_submodule(target.name)
        weights = sum(p.numel() for n, p in module.named_parameters() if n.endswith("weight"))
        layers.append(
            LayerAnatomy(
                name=target.name,
                group=target.group,
                in_features=target.in_features,
                out_features=target.out_features,
                kind=type(module).__name__,
                parameters=sum(p.numel() for p in module.parameters()),
                flops=2.0 * counted.vectors[target.name] * weights,
                break_even=break_even_rank(target.in_features, target.out_features),
                effective_rank=None if spectra is None else spectra[target.name].effective_rank(),
            )
        )
    return Anatomy(
        model=speech.name,
        architecture=type(encoder).__name__,
        window_s=adapter.window_s(speech.processor),
        positions=adapter.positions(encoder),
        parameters=encoder_parameters(speech.model),
        flops=counted.total,
        joint={site.name: not site.rotary for site in adapter.attentions(encoder)},
        units={
            mlp.second: sizes_of(encoder.get_submodule(mlp.second))[0]
            for mlp in adapter.mlps(encoder)
        },
        layers=tuple(layers),
    )
