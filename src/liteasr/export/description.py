"""What an exported encoder says about itself, in the file's own metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from liteasr.errors import ExportError
from liteasr.record import known_fields

__all__ = ["EncoderDescription"]

KEY = "liteasr"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderDescription:
    """All that is needed to feed an encoder file, and how it came to be.

    Attributes:
        model: Name of the model.
        model_type: Its architecture, such as ``whisper``.
        n_mels: Mel bins of the input.
        frames: Frames of a full window; shorter ones are encoded as they are.
        width: Features of the output.
        precision: ``float32`` or ``int8``.
        parameters: Of the encoder without positions.
        flops: Of a full window: products of layers, convolutions and attentions.
        liteasr: Version that wrote the file.
        plan: The rank plan in effect; empty where the encoder is dense.
        version: Of this record.
    """

    model: str
    model_type: str
    n_mels: int
    frames: int
    width: int
    precision: str
    parameters: int
    flops: float
    liteasr: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def to_properties(self) -> dict[str, str]:
        """The metadata of an ONNX file: the whole record as JSON."""
        return {KEY: json.dumps(asdict(self))}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], *, file: object) -> EncoderDescription:
        """Read the metadata of an ONNX file.

        Raises:
            ExportError: The file is not one that liteasr exported, or a newer version did.
        """
        if KEY not in properties:
            raise ExportError(
                f"{file} is not an encoder that liteasr exported: make one with `liteasr export`"
            )
        try:
            value = json.loads(properties[KEY])
            read = cls(**known_fields(cls, value))
        except ValueError as error:
            raise ExportError(f"the metadata of {file} is damaged: {error}") from error
        if read.version > VERSION:
            raise ExportError(
                f"{file} has metadata version {read.version}, this liteasr reads up to {VERSION}: "
                "upgrade liteasr"
            )
        return read
