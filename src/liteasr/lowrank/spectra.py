"""All that a plan may choose from: of layers, of whole attentions and of whole MLPs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from liteasr.lowrank.hidden_units import HiddenUnits
from liteasr.lowrank.joint_attention import AttentionSpectrum
from liteasr.lowrank.spectrum import Spectrum

__all__ = ["Spectra"]


@dataclass(frozen=True)
class Spectra(Mapping[str, Spectrum]):
    """Spectra of layers by name, and beside them what joint forms are made from.

    Attributes:
        layers: PCA of the output of every target.
        attentions: By name of the attention; empty where the encoder allows no joint form.
        mlps: By name of the layer that reads the hidden vector; empty where no units may go, or
            the calibration did not look at them.
        weighed: Whether errors are measured by what the encoder's output makes of them, not as
            they are.
    """

    layers: Mapping[str, Spectrum]
    attentions: Mapping[str, AttentionSpectrum] = field(default_factory=dict)
    mlps: Mapping[str, HiddenUnits] = field(default_factory=dict)
    weighed: bool = False

    def __getitem__(self, name: str) -> Spectrum:
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)
