"""What every source of weights gives: one model, ready to listen."""

from dataclasses import dataclass
from typing import Any

__all__ = ["SpeechModel"]


@dataclass(frozen=True, kw_only=True)
class SpeechModel:
    """A recognizer with everything that feeds it.

    Attributes:
        name: Short name for tables and reports, such as ``whisper-base``.
        origin: Where the weights came from: a path, a hub id or a package with its version.
        model: The transformers model in evaluation mode, with a complete
            ``generation_config`` where it generates text.
        processor: The transformers processor: feature extractor and tokenizer.
    """

    name: str
    origin: str
    model: Any
    processor: Any
