"""A transformers Whisper put together from a shape, a state dictionary and a tokenizer."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from liteasr.errors import SourceError
from liteasr.sources.base import SpeechModel
from liteasr.sources.whisper_generation import WhisperFacts, generation_config
from liteasr.sources.whisper_processor import build_processor
from liteasr.sources.whisper_tokens import WhisperTokens

__all__ = ["WhisperShape", "assemble"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WhisperShape:
    """The numbers that decide a Whisper's layers, named as its configuration names them."""

    d_model: int
    num_mel_bins: int
    vocab_size: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_layers: int
    decoder_attention_heads: int
    decoder_ffn_dim: int
    max_source_positions: int
    max_target_positions: int
    scale_embedding: bool = False


def assemble(
    shape: WhisperShape,
    state: dict[str, Tensor],
    *,
    tokenizer_json: Path,
    facts: WhisperFacts,
    name: str,
    origin: str,
) -> SpeechModel:
    """Build the model around the given tensors, without initialising weights first.

    Raises:
        SourceError: The tensors are not exactly those the shape asks for.
    """
    processor = build_processor(
        tokenizer_json, n_mels=shape.num_mel_bins, vocab_size=shape.vocab_size
    )
    generation = generation_config(
        WhisperTokens.of(processor.tokenizer),
        decoder_layers=shape.decoder_layers,
        decoder_heads=shape.decoder_attention_heads,
        vocab_size=shape.vocab_size,
        max_length=shape.max_target_positions,
        facts=facts,
    )
    model = _build(shape, state, generation, origin)
    model.generation_config = generation
    return SpeechModel(name=name, origin=origin, model=model.eval(), processor=processor)


def _build(shape: WhisperShape, state: dict[str, Tensor], generation: Any, origin: str) -> Any:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        **asdict(shape),
        bos_token_id=generation.bos_token_id,
        eos_token_id=generation.eos_token_id,
        pad_token_id=generation.pad_token_id,
        decoder_start_token_id=generation.decoder_start_token_id,
        begin_suppress_tokens=None,  # generation settings live in the generation configuration
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise SourceError(f"{origin} does not hold a complete Whisper: {error}") from error
    model.tie_weights()
    return model
