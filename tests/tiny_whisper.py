"""A Whisper small enough for laws: random weights, a byte tokenizer, every special token."""

from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from liteasr.sources import SpeechModel

LANGUAGES = ("en", "de", "zh")


def special_tokens() -> list[str]:
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in LANGUAGES),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(f"<|{step * 0.02:.2f}|>" for step in range(1501)),
    ]


def tokenizer() -> WhisperTokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = WhisperTokenizer(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
    made.add_tokens(special_tokens(), special_tokens=True)
    return made


def generation_config(ids: dict[str, int]) -> GenerationConfig:
    return GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        max_initial_timestamp_index=50,
        max_length=64,
        alignment_heads=[[0, 0]],
        return_timestamps=False,
    )


def tiny_whisper(
    *, width: int = 64, blocks: int = 2, seed: int = 0, window_s: int = 30, **changes: Any
) -> SpeechModel:
    """Random weights, all of them, biases and norms too; a short window for many encodings."""
    words = tokenizer()
    ids = words.get_vocab()
    config = WhisperConfig(
        vocab_size=len(words),
        d_model=width,
        encoder_layers=blocks,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_target_positions=64,
        max_source_positions=changes.pop("max_source_positions", 50 * window_s),
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        **changes,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.generation_config = generation_config(ids)
    extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=window_s)
    processor = WhisperProcessor(feature_extractor=extractor, tokenizer=words)
    return SpeechModel(name="tiny", origin="random", model=model, processor=processor)
