"""Where a calibration looks: at every layer, into MLPs if there is room, at what reads them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import nn

from liteasr.calibration.artefact import Calibration
from liteasr.calibration.readings import READING_STRIDE, Listen, Reader
from liteasr.encoders import EncoderInput, MlpSite, Observation, adapter_for, run_encoder
from liteasr.errors import CalibrationError
from liteasr.lowrank import Gradients
from liteasr.sources import SpeechModel

__all__ = ["Places", "places_of"]

log = logging.getLogger(__name__)

GIB = 2**30
MOST_BYTES = 2 * GIB
BYTES_PER_PRODUCT = 2 * 8  # two halves in float64


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """What is observed in one pass.

    Attributes:
        layers: Of the targets, and of convolutions before the blocks.
        hidden: Of the MLPs' hidden vectors; may be empty.
        reader: Takes the gradients of readings; None where they are not wanted.
    """

    layers: frozenset[Observation]
    hidden: frozenset[Observation]
    reader: Reader | None

    def run(
        self, encoder: nn.Module, window: EncoderInput, number: int, language: str | None
    ) -> dict[str, Gradients]:
        """Run the encoder for whoever observes it, and read its output in one window of so many.

        Args:
            encoder: The encoder.
            window: What it runs on.
            number: Of the window; chooses whether it is read, and how.
            language: That is spoken, if known.
        """
        if self.reader is not None and number % READING_STRIDE == 0:
            return self.reader.read(encoder, window, seed=number, language=language)
        run_encoder(encoder, window)
        return {}


def places_of(
    speech: SpeechModel,
    units: bool | None,
    readings: bool,
    listen: Listen | None,
    state: Calibration,
) -> Places:
    """Every place to look at; hidden vectors as asked for, or where there is room for them.

    A calibration that goes on looks where it looked before.

    Raises:
        CalibrationError: It began with a decoder that is not there any more.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    mlps = adapter.mlps(encoder)
    layers = {target.observation for target in adapter.targets(encoder)}
    convolutions = {target.observation for target in adapter.convolutions(encoder)}
    wanted = _has_room(mlps) if units is None else units
    if state.counted:
        wanted = _as_begun("hidden units", wanted, bool(state.hidden))
        readings = _as_begun("readings of the output", readings, bool(state.readings))
        listen = _listener_as_begun(listen, state) if readings else None
        convolutions = {place for place in convolutions if place.key in state.moments}
    return Places(
        layers=frozenset(layers | convolutions),
        hidden=frozenset(site.hidden for site in mlps if wanted),
        reader=Reader.of(speech, adapter, encoder, listen) if readings else None,
    )


def _as_begun(what: str, wanted: bool, begun: bool) -> bool:
    if wanted != begun:
        log.warning(
            "going on %s %s, as the calibration began: delete it to start anew",
            "with" if begun else "without",
            what,
        )
    return begun


def _listener_as_begun(listen: Listen | None, state: Calibration) -> Listen | None:
    """The listener where the calibration began with one."""
    if not state.provenance.heard:
        _as_begun("the decoder", listen is not None, False)
        return None
    if listen is None:
        raise CalibrationError(
            f"{state.provenance.utterances} recordings are counted with what the decoder hears: "
            "give listen=listener_of(speech) to go on, or delete what was begun"
        )
    return listen


def _has_room(mlps: tuple[MlpSite, ...]) -> bool:
    needed = sum(BYTES_PER_PRODUCT * site.units**2 for site in mlps)
    if needed > MOST_BYTES:
        log.info(
            "not looking at hidden units: their moments would take %.1f GiB, more than %.0f; "
            "ask for them (--units) to let plans remove some",
            needed / GIB,
            MOST_BYTES / GIB,
        )
    return needed <= MOST_BYTES
