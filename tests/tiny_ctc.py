"""Small random encoders with a CTC head, one for every family of the wav2vec2 kind."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioForCTC,
    HubertConfig,
    HubertForCTC,
    UniSpeechConfig,
    UniSpeechForCTC,
    UniSpeechSatConfig,
    UniSpeechSatForCTC,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WavLMConfig,
    WavLMForCTC,
)

from liteasr.encoders import prepare_
from liteasr.sources import SpeechModel

LETTERS = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ"
WAV2VEC2_FAMILIES: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC, {}),
    "xls-r": (
        Wav2Vec2Config,
        Wav2Vec2ForCTC,
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    ),
    "mms": (
        Wav2Vec2Config,
        Wav2Vec2ForCTC,
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "adapter_attn_dim": 8},
    ),
    "wav2vec2-adapter": (Wav2Vec2Config, Wav2Vec2ForCTC, {"add_adapter": True}),
    "hubert": (HubertConfig, HubertForCTC, {}),
    "wavlm": (WavLMConfig, WavLMForCTC, {"num_buckets": 32, "max_bucket_distance": 80}),
    "wavlm-large": (
        WavLMConfig,
        WavLMForCTC,
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    ),
    "unispeech": (UniSpeechConfig, UniSpeechForCTC, {}),
    "unispeech-sat": (UniSpeechSatConfig, UniSpeechSatForCTC, {}),
    "data2vec": (
        Data2VecAudioConfig,
        Data2VecAudioForCTC,
        {"conv_pos_kernel_size": 7, "num_conv_pos_embeddings": 2},
    ),
}


def randomized(model: nn.Module, seed: int = 0) -> Any:
    """Random weights, all of them: biases and norms too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


def letters_processor() -> Wav2Vec2Processor:
    """Letters with a word delimiter, as the English fine-tunes have them."""
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {letter: 4 + i for i, letter in enumerate(LETTERS)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.json"
        file.write_text(json.dumps(vocabulary))
        tokenizer = Wav2Vec2CTCTokenizer(str(file))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    return Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer)


def tiny_wav2vec2(family: str = "wav2vec2", *, seed: int = 0, **changes: Any) -> SpeechModel:
    """Width 64, two blocks of four heads, the real strides of the convolutions."""
    config_class, model_class, own = WAV2VEC2_FAMILIES[family]
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "conv_dim": (32,) * 7,
        "vocab_size": 4 + len(LETTERS),
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "pad_token_id": 0,
    }
    torch.manual_seed(seed)
    model = randomized(model_class(config_class(**{**sizes, **own, **changes})), seed)
    prepare_(model)
    processor = letters_processor()
    return SpeechModel(name=f"tiny-{family}", origin="random", model=model, processor=processor)
