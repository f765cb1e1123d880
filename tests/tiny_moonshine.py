"""A Moonshine small enough for laws: random weights, and a byte vocabulary."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)

from liteasr.sources import SpeechModel
from liteasr.sources.moonshine_tokens import build_tokenizer
from tiny_ctc import randomized

PIECES = [b"<unk>", b"<s>", b"</s>", *(bytes([value]) for value in range(256)), "\u2581a".encode()]


def tokenizer_bin(path: Path) -> Path:
    """The file that holds the pieces."""
    path.write_bytes(b"".join(bytes([len(piece)]) + piece for piece in PIECES))
    return path


def tiny_moonshine(*, seed: int = 0, **changes: Any) -> SpeechModel:
    """Width 64, two blocks of four heads, the real convolutions."""
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 256,
        "vocab_size": 272,
        "encoder_num_hidden_layers": 2,
        "decoder_num_hidden_layers": 2,
        "encoder_num_attention_heads": 4,
        "decoder_num_attention_heads": 4,
        "max_position_embeddings": 64,
        "pad_token_id": 2,
    }
    torch.manual_seed(seed)
    model = randomized(MoonshineForConditionalGeneration(MoonshineConfig(**{**sizes, **changes})))
    model.generation_config = GenerationConfig(
        decoder_start_token_id=1, bos_token_id=1, eos_token_id=2, pad_token_id=2, max_length=64
    )
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build_tokenizer(tokenizer_bin(Path(folder) / "tokenizer.bin"), vocab_size=272)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False)
    processor = Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer)
    return SpeechModel(name="tiny-moonshine", origin="random", model=model, processor=processor)
