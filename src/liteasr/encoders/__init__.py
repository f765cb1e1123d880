"""Which linear layers, which groups, which inputs: the only place that knows model classes."""

from liteasr.encoders.base import AttentionSite, EncoderAdapter, EncoderInput, Observation, Target
from liteasr.encoders.packing import PackedEncoder, pack_encoder
from liteasr.encoders.registry import (
    adapter_for,
    attention_weights,
    encode,
    encoder_fingerprint,
    encoder_parameters,
    readout_metric,
    require_dense,
    run_encoder,
    supported_model_types,
)
from liteasr.encoders.whisper import WhisperAdapter

__all__ = [
    "AttentionSite",
    "EncoderAdapter",
    "EncoderInput",
    "Observation",
    "PackedEncoder",
    "Target",
    "WhisperAdapter",
    "adapter_for",
    "attention_weights",
    "encode",
    "encoder_fingerprint",
    "encoder_parameters",
    "pack_encoder",
    "readout_metric",
    "require_dense",
    "run_encoder",
    "supported_model_types",
]
