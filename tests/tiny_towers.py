"""Encoders of Whisper's kind inside small random speech-LLMs."""

from typing import Any

import torch
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
)

from liteasr.sources import SpeechModel
from tiny_ctc import randomized
from tiny_whisper import tiny_whisper

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
}
SIZES = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 256}


def tiny_qwen2_audio(**changes: Any) -> SpeechModel:
    """Pairs of positions are averaged, and one layer reads them."""
    config = Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", **SIZES, "num_mel_bins": 80, **changes},
        text_config={"model_type": "qwen2", **TEXT},
    )
    return _speech("tiny-qwen2-audio", Qwen2AudioForConditionalGeneration(config))


def tiny_voxtral(**changes: Any) -> SpeechModel:
    """Four positions are read at once."""
    sizes = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 256, "num_mel_bins": 80,
    }  # fmt: skip
    config = VoxtralConfig(
        audio_config={"model_type": "voxtral_encoder", **sizes, **changes},
        text_config={"model_type": "llama", **TEXT},
    )
    return _speech("tiny-voxtral", VoxtralForConditionalGeneration(config))


def _speech(name: str, model: Any) -> SpeechModel:
    """With the processor of a Whisper: the feature extractor is the same class."""
    torch.manual_seed(0)
    processor = tiny_whisper().processor
    return SpeechModel(name=name, origin="random", model=randomized(model), processor=processor)
