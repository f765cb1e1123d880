"""What simpler decoders than Whisper's cannot be asked for."""

from dataclasses import fields

from liteasr.errors import TranscriptionError
from liteasr.runtime.base import TranscriptionOptions

__all__ = ["refuse_unknown_options"]

# a language is passed on; thresholds and temperatures name retries, which need no refusal where
# there is nothing to retry; an encoder without timestamps has its own times
HARMLESS = (
    *("language", "temperature", "compression_ratio_threshold", "logprob_threshold"),
    *("no_speech_threshold", "timestamps", "seed", "version"),
)

# nothing is fitted to the audio or pooled but by Whisper's runtimes
ASKED_ANYWAY = {"context": "off", "pooling": 1}


def refuse_unknown_options(
    options: TranscriptionOptions, name: str, *, known: tuple[str, ...]
) -> None:
    """Refuse options that would change nothing, but for those that only tune retries.

    Args:
        options: What is asked for.
        name: The model's name, for the message.
        known: Options that the runtime honors.

    Raises:
        TranscriptionError: Another option has a value that is not its default.
    """
    defaults = TranscriptionOptions()
    for field in fields(options):
        if field.name in (*HARMLESS, *known):
            continue
        value = getattr(options, field.name)
        if ASKED_ANYWAY.get(field.name) == value:
            continue
        if value != getattr(defaults, field.name):
            raise TranscriptionError(
                f"{name} cannot honor {field.name}={value!r}, which is Whisper's: leave it out"
            )
