"""One small random model of every family that an adapter knows, and what it computes by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from transformers import WhisperFeatureExtractor, WhisperProcessor

from liteasr.sources import SpeechModel
from tiny_ctc import tiny_wav2vec2
from tiny_moonshine import tiny_moonshine
from tiny_parakeet import tiny_parakeet
from tiny_towers import tiny_qwen2_audio, tiny_voxtral
from tiny_whisper import tiny_whisper

__all__ = ["FAMILIES", "HAND_COUNTS"]


def short(make: Callable[..., SpeechModel]) -> SpeechModel:
    """A Whisper, or a tower of its kind, whose windows last 6 s: laws need no more."""
    speech = make(max_source_positions=300)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=6)
    tokenizer = speech.processor.tokenizer
    return replace(speech, processor=WhisperProcessor(extractor, tokenizer))


FAMILIES: dict[str, Callable[[], SpeechModel]] = {
    "whisper": lambda: short(tiny_whisper),
    "qwen2-audio": lambda: short(tiny_qwen2_audio),
    "voxtral": lambda: short(tiny_voxtral),
    "moonshine": tiny_moonshine,
    "parakeet": tiny_parakeet,
    "wav2vec2": tiny_wav2vec2,
    "xls-r": lambda: tiny_wav2vec2("xls-r"),
    "mms": lambda: tiny_wav2vec2("mms"),
    "hubert": lambda: tiny_wav2vec2("hubert"),
    "wavlm": lambda: tiny_wav2vec2("wavlm"),
}


def block_flops(positions: int, width: int, inner: int) -> int:
    """q, k, v, out, two MLP layers and two products of an attention."""
    return 2 * positions * (4 * width**2 + 2 * width * inner) + 4 * positions**2 * width


def whisper_flops(config: Any) -> int:
    convolutions = 2 * 600 * 3 * 80 * 64 + 2 * 300 * 3 * 64 * 64
    return convolutions + 2 * block_flops(300, 64, 256)


def wav2vec2_flops(config: Any) -> int:
    frames, channels, total = 480_000, 1, 0
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        frames = (frames - kernel) // stride + 1
        total += 2 * frames * kernel * channels * 32
        channels = 32
    total += 2 * frames * 32 * 64  # into the width of the transformer
    total += 2 * (frames + 1) * 16 * 64 * 64 // 4  # an even kernel makes one frame too many
    return total + 2 * block_flops(frames, 64, 128)


def moonshine_flops(config: Any) -> int:
    frames, channels, total = 480_000, 1, 0
    for kernel, stride, out in ((127, 64, 64), (7, 3, 128), (3, 2, 64)):
        frames = (frames - kernel) // stride + 1
        total += 2 * frames * kernel * channels * out
        channels = out
    return total + 2 * block_flops(frames, 64, 256)


def parakeet_flops(config: Any) -> int:
    """Convolutions over frames and bands halve both; then two blocks of 375 positions."""
    subsampling = 2 * 1500 * 16 * 9 * 16  # [frames, bands, kernel, channels]
    for frames, bands in ((750, 8), (375, 4)):
        subsampling += 2 * frames * bands * 16 * (9 + 16)  # by channel, then across channels
    positions, width = 375, 64
    linear = 2 * positions * 4 * width * 16  # four bands of sixteen channels
    pairs = 2 * 2 * positions * 2 * width * 128
    attention = 2 * positions * 4 * width**2 + 4 * positions**2 * width
    relative = 2 * (2 * positions - 1) * width**2 + 2 * positions * (2 * positions - 1) * width
    convolutions = 2 * positions * (3 * width**2 + 9 * width)
    return subsampling + linear + 2 * (pairs + attention + relative + convolutions)


def mms_flops(config: Any) -> int:
    return wav2vec2_flops(config) + 2 * 2 * 1499 * 2 * 64 * 8


def wavlm_flops(config: Any) -> int:
    return wav2vec2_flops(config) + 2 * 2 * 1499 * 4 * 16 * 8  # the gates, head by head


HAND_COUNTS: dict[str, Callable[[Any], int]] = {
    "whisper": whisper_flops,
    "qwen2-audio": whisper_flops,
    "voxtral": whisper_flops,
    "moonshine": moonshine_flops,
    "parakeet": parakeet_flops,
    "wav2vec2": wav2vec2_flops,
    "xls-r": wav2vec2_flops,
    "hubert": wav2vec2_flops,
    "mms": mms_flops,
    "wavlm": wavlm_flops,
}
