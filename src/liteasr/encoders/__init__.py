"""Which linear layers, which groups, which inputs: the only place that knows model classes."""

from liteasr.encoders.base import EncoderAdapter, EncoderInput, Observation, Target
from liteasr.encoders.registry import (
    adapter_for,
    encoder_fingerprint,
    encoder_parameters,
    run_encoder,
    supported_model_types,
)
from liteasr.encoders.whisper import WhisperAdapter

__all__ = [
    "EncoderAdapter",
    "EncoderInput",
    "Observation",
    "Target",
    "WhisperAdapter",
    "adapter_for",
    "encoder_fingerprint",
    "encoder_parameters",
    "run_encoder",
    "supported_model_types",
]
