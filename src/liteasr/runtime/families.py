"""Which way of decoding a model needs."""

from __future__ import annotations

from typing import Literal

from liteasr.errors import UnsupportedModelError
from liteasr.sources.base import SpeechModel

__all__ = ["Family", "family_of"]

Family = Literal["whisper", "moonshine", "ctc"]


def family_of(speech: SpeechModel) -> Family:
    """The way a model decodes.

    Raises:
        UnsupportedModelError: No runtime knows the architecture.
    """
    kind = speech.model.config.model_type
    if kind == "whisper":
        return "whisper"
    if kind == "moonshine":
        return "moonshine"
    architecture = type(speech.model).__name__
    if architecture.endswith("ForCTC"):
        return "ctc"
    raise UnsupportedModelError(
        f"no runtime can decode {speech.name}, a {kind!r} model ({architecture}): known are "
        "'whisper', 'moonshine' and models with a CTC head"
    )
