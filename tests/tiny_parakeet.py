"""A FastConformer small enough for laws: random weights, pieces as SentencePiece writes them."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import (
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetProcessor,
    ParakeetTokenizer,
)

from liteasr.sources import SpeechModel
from tiny_ctc import randomized

PIECES = ("<unk>", *(f"\u2581{letter}" for letter in "abcdefgh"), *"ijklmnop", "<pad>")


def pieces_tokenizer() -> ParakeetTokenizer:
    """Eight pieces that start a word, eight that go on, and the blank."""
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    backend = Tokenizer(models.BPE(vocabulary, merges=[], unk_token="<unk>"))
    backend.decoder = decoders.Metaspace()
    return ParakeetTokenizer(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")


def tiny_parakeet(*, seed: int = 0, **changes: Any) -> SpeechModel:
    """Width 64, two blocks of four heads, 32 Mel bands."""
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "subsampling_conv_channels": 16,
        "num_mel_bins": 32,
    }
    torch.manual_seed(seed)
    blank = len(PIECES) - 1
    config = ParakeetCTCConfig(
        vocab_size=len(PIECES), pad_token_id=blank, encoder_config={**sizes, **changes}
    )
    model = randomized(ParakeetForCTC(config), seed)
    processor = ParakeetProcessor(
        feature_extractor=ParakeetFeatureExtractor(feature_size=32), tokenizer=pieces_tokenizer()
    )
    return SpeechModel(name="tiny-parakeet", origin="random", model=model, processor=processor)
