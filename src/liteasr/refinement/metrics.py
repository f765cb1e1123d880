"""Which errors of MLPs the encoder's output, and what is said of it, shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from liteasr.calibration.artefact import sums
from liteasr.calibration.readings import Listen, Reader
from liteasr.encoders import MlpSite, adapter_for
from liteasr.lowrank import Gradients, Metric
from liteasr.refinement.pieces import Said
from liteasr.refinement.windows import TrainingWindow
from liteasr.runtime import Listener
from liteasr.runtime.forcing import Forcing
from liteasr.sources import SpeechModel

__all__ = ["metrics_of"]


def metrics_of(
    sites: Sequence[MlpSite],
    original: SpeechModel,
    forcing: Forcing | None,
    windows: Iterable[tuple[TrainingWindow, str | None]],
) -> dict[str, Float[Tensor, "out out"]]:
    """G^½ (`Metric`) at the outputs of MLPs, by name of the second layer.

    The original is read in every window, as a calibration does (`Reader`).

    Args:
        sites: The MLPs.
        original: The model that is not reduced.
        forcing: Its decoder; without one random readings of the output say it alone.
        windows: Of audio, and their languages if known; where the texts are not known either they
            are listened to.
    """
    adapter = adapter_for(original.model)
    encoder = adapter.encoder(original.model)
    reader = Reader.of(original, adapter, encoder, only={site.second for site in sites})
    found: dict[str, Gradients] = {}
    for number, (window, language) in enumerate(windows):
        listen = None if forcing is None else _listening(forcing, window.said)
        listening = replace(reader, listen=listen)
        found = sums(found, listening.read(encoder, window.input, seed=number, language=language))
    return {name: Metric.of(gradients).root.float() for name, gradients in found.items()}


def _listening(forcing: Forcing, said: Said | None) -> Listen:
    """Does not listen again where it is known what is said."""
    listener = Listener(forcing)
    if said is None:
        return listener
    return lambda encoded, duration_s, language, seed: listener.gradient(encoded, said, seed)
