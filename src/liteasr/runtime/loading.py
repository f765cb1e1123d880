"""The one door to the runtimes."""

from liteasr.errors import UnsupportedModelError
from liteasr.runtime.base import Transcriber
from liteasr.sources.base import SpeechModel

__all__ = ["transcriber_for"]


def transcriber_for(model: SpeechModel) -> Transcriber:
    """Choose the runtime that can decode a model.

    Raises:
        UnsupportedModelError: No runtime knows the architecture.
    """
    kind = model.model.config.model_type
    if kind == "whisper":
        from liteasr.runtime.transformers import TransformersTranscriber

        return TransformersTranscriber(model)
    if kind == "moonshine":
        from liteasr.runtime.moonshine import MoonshineTranscriber

        return MoonshineTranscriber(model)
    if type(model.model).__name__.endswith("ForCTC"):
        from liteasr.runtime.ctc import CTCTranscriber

        return CTCTranscriber(model)
    raise UnsupportedModelError(
        f"no runtime can decode {model.name}, a {kind!r} model ({type(model.model).__name__}): "
        "known are 'whisper', 'moonshine' and models with a CTC head"
    )
