"""All that a plan may choose from: the spectra of layers and of whole attentions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from liteasr.lowrank.joint_attention import AttentionSpectrum
from liteasr.lowrank.spectrum import Spectrum

__all__ = ["Spectra"]


@dataclass(frozen=True)
class Spectra(Mapping[str, Spectrum]):
    """Spectra of layers by name, and beside them those of attentions that may be reduced jointly.

    Attributes:
        layers: PCA of the output of every target.
        attentions: By name of the attention; empty where the encoder allows no joint form.
    """

    layers: Mapping[str, Spectrum]
    attentions: Mapping[str, AttentionSpectrum] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Spectrum:
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)
