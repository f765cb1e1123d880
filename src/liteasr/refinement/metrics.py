"""Which errors of MLPs the encoder's output, and what is said of it, shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor

from liteasr.calibration.artefact import sums
from liteasr.calibration.readings import Reader
from liteasr.encoders import EncoderInput, MlpSite, adapter_for
from liteasr.lowrank import Gradients, Metric
from liteasr.runtime import Listener
from liteasr.runtime.forcing import Forcing
from liteasr.sources import SpeechModel

__all__ = ["metrics_of"]


def metrics_of(
    sites: Sequence[MlpSite],
    original: SpeechModel,
    forcing: Forcing | None,
    windows: Iterable[tuple[EncoderInput, str | None]],
) -> dict[str, Float[Tensor, "out out"]]:
    """G^½ (`Metric`) at the outputs of MLPs, by name of the second layer.

    The original is read in every window, as a calibration does (`Reader`).

    Args:
        sites: The MLPs.
        original: The model that is not reduced.
        forcing: Its decoder; without one random readings of the output say it alone.
        windows: Of audio, and their languages if known.
    """
    adapter = adapter_for(original.model)
    encoder = adapter.encoder(original.model)
    listen = None if forcing is None else Listener(forcing)
    seconds = {site.second for site in sites}
    reader = Reader.of(original, adapter, encoder, listen, only=seconds)
    found: dict[str, Gradients] = {}
    for number, (window, language) in enumerate(windows):
        found = sums(found, reader.read(encoder, window, seed=number, language=language))
    return {name: Metric.of(gradients).root.float() for name, gradients in found.items()}
