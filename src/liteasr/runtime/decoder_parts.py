"""All that decodes for a Whisper without the model itself: folders and a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from liteasr.runtime.languages import is_multilingual

__all__ = ["DecoderParts", "SpecialTokens"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecialTokens:
    """What decoding reads of a transformers ``generation_config``, under the same names.

    Attributes:
        decoder_start_token_id: ``<|startoftranscript|>``.
        eos_token_id: ``<|endoftext|>``.
        no_timestamps_token_id: ``<|notimestamps|>``.
        suppress_tokens: Never said.
        begin_suppress_tokens: Never said first.
        is_multilingual: Whether the model knows more than English.
        lang_to_id: The token of each language, such as ``<|de|>``.
    """

    decoder_start_token_id: int
    eos_token_id: int
    no_timestamps_token_id: int
    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]
    is_multilingual: bool
    lang_to_id: Mapping[str, int]

    @classmethod
    def of(cls, generation_config: Any) -> Self:
        """Read a generation configuration."""
        end = generation_config.eos_token_id
        return cls(
            decoder_start_token_id=int(generation_config.decoder_start_token_id),
            eos_token_id=int(end[0] if isinstance(end, list | tuple) else end),
            no_timestamps_token_id=int(generation_config.no_timestamps_token_id),
            suppress_tokens=tuple(generation_config.suppress_tokens or ()),
            begin_suppress_tokens=tuple(generation_config.begin_suppress_tokens or ()),
            is_multilingual=is_multilingual(generation_config),
            lang_to_id=dict(getattr(generation_config, "lang_to_id", None) or {}),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderParts:
    """What a `FasterWhisperTranscriber` is made of, but for its encoder.

    Attributes:
        name: Of the model.
        directory: CTranslate2's decoder.
        greedy: The folder of our greedy decoder; None where CTranslate2 decodes all.
        compute_type: Of CTranslate2.
        width: Features of the decoder.
        positions: Of a full window.
        pooling: Positions that are one in what the encoder gives.
        max_length: Tokens that the decoder has room for, the prompt included.
        tokens: The model's special tokens.
    """

    name: str
    directory: Path
    greedy: Path | None
    compute_type: str
    width: int
    positions: int
    pooling: int
    max_length: int
    tokens: SpecialTokens
