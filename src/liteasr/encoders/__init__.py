"""Which linear layers, which groups, which inputs: the only place that knows model classes."""

from liteasr.encoders.base import (
    PADDING_STRIDE,
    AttentionSite,
    EncoderAdapter,
    EncoderInput,
    MlpSite,
    Observation,
    Target,
)
from liteasr.encoders.generic import GenericAdapter, use_encoder_
from liteasr.encoders.moonshine import MoonshineAdapter
from liteasr.encoders.packing import PackedEncoder, pack_encoder
from liteasr.encoders.parakeet import ParakeetAdapter
from liteasr.encoders.pooling import (
    output_pooling,
    pool_positions_,
    pooled_like,
    pooling_,
    require_poolable,
    unpool_positions_,
)
from liteasr.encoders.registry import (
    adapter_for,
    adopt_encoder_,
    affine_at,
    attention_weights,
    audio_positions,
    encode,
    encoder_fingerprint,
    encoder_parameters,
    entering_positions,
    on_encoder,
    pooled_from,
    prepare_,
    readout_metric,
    require_dense,
    run_encoder,
    supported_model_types,
)
from liteasr.encoders.wav2vec2 import Wav2Vec2Adapter
from liteasr.encoders.whisper import WhisperAdapter

__all__ = [
    "PADDING_STRIDE",
    "AttentionSite",
    "EncoderAdapter",
    "EncoderInput",
    "GenericAdapter",
    "MlpSite",
    "MoonshineAdapter",
    "Observation",
    "PackedEncoder",
    "ParakeetAdapter",
    "Target",
    "Wav2Vec2Adapter",
    "WhisperAdapter",
    "adapter_for",
    "adopt_encoder_",
    "affine_at",
    "attention_weights",
    "audio_positions",
    "encode",
    "encoder_fingerprint",
    "encoder_parameters",
    "entering_positions",
    "on_encoder",
    "output_pooling",
    "pack_encoder",
    "pool_positions_",
    "pooled_from",
    "pooled_like",
    "pooling_",
    "prepare_",
    "readout_metric",
    "require_dense",
    "require_poolable",
    "run_encoder",
    "supported_model_types",
    "unpool_positions_",
    "use_encoder_",
]
