"""A Whisper processor from a ``tokenizer.json`` and the number of mel bands."""

import json
from pathlib import Path
from typing import Any

from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of
from liteasr.progress import Track, silent
from liteasr.sources.bundled import fetch

__all__ = ["build_processor", "find_tokenizer"]

_TIMESTAMPS = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
_LARGE_V3_VOCABULARY = 51866  # the multilingual one with Cantonese
_BUNDLED_TOKENIZERS = {
    51864: "whisper-tiny.en",
    51865: "whisper-base",
    _LARGE_V3_VOCABULARY: "whisper-base",
}

Layout = dict[str, Any]


def find_tokenizer(folder: Path, vocab_size: int, *, track: Track = silent) -> Path:
    """Choose the ``tokenizer.json`` in ``folder``, else a bundled one of the same vocabulary.

    Raises:
        SourceError: There is none in the folder and the vocabulary is not one of OpenAI's.
    """
    if (own := folder / "tokenizer.json").is_file():
        return own
    if vocab_size not in _BUNDLED_TOKENIZERS:
        raise SourceError(
            f"{folder} has no tokenizer.json, and a vocabulary of {vocab_size} is none of "
            f"{', '.join(map(str, _BUNDLED_TOKENIZERS))}: put the model's tokenizer.json there"
        )
    return fetch(_BUNDLED_TOKENIZERS[vocab_size], track=track) / "tokenizer.json"


def build_processor(tokenizer_json: Path, *, n_mels: int, vocab_size: int) -> Any:
    """Build a ``WhisperProcessor`` whose vocabulary covers the model's.

    Tokens that older files leave out are added: the timestamps, and Cantonese where the model
    has it.

    Raises:
        IntegrityError: The tokenizer file is not readable.
        SourceError: The tokenizer has more tokens than the model.
    """
    from tokenizers import Tokenizer
    from transformers import WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

    try:
        layout = json.loads(tokenizer_json.read_text(encoding="utf-8"))
        added = layout["added_tokens"] = _completed(layout["added_tokens"], vocab_size)
        backend = Tokenizer.from_str(json.dumps(layout))
    except Exception as error:  # tokenizers raises bare Exception
        raise IntegrityError(
            f"{tokenizer_json} is no readable tokenizer ({error!r:.200}; SHA-256 "
            f"{sha256_of(tokenizer_json)}): fetch it again"
        ) from error
    if (size := backend.get_vocab_size()) > vocab_size:
        raise SourceError(
            f"{tokenizer_json} has {size} tokens and the model {vocab_size}: it belongs to "
            "another model"
        )
    special = [entry["content"] for entry in added if entry["special"]]
    tokenizer = WhisperTokenizer(
        tokenizer_object=backend,
        extra_special_tokens=special,
        pad_token="<|endoftext|>",
        model_max_length=448,
    )
    return WhisperProcessor(WhisperFeatureExtractor(feature_size=n_mels), tokenizer)


def _completed(added: list[Layout], vocab_size: int) -> list[Layout]:
    ids = {entry["content"]: entry["id"] for entry in added}
    if vocab_size == _LARGE_V3_VOCABULARY and "<|su|>" in ids and "<|yue|>" not in ids:
        added = _with_cantonese(added, ids["<|su|>"] + 1)
    ids = {entry["content"]: entry["id"] for entry in added}
    first = ids.get("<|notimestamps|>", vocab_size) + 1
    if _TIMESTAMPS[0] in ids or first + len(_TIMESTAMPS) > vocab_size:
        return added
    return added + [
        _token(text, first + step, special=False) for step, text in enumerate(_TIMESTAMPS)
    ]


def _with_cantonese(added: list[Layout], position: int) -> list[Layout]:
    before = [entry for entry in added if entry["id"] < position]
    after = [{**entry, "id": entry["id"] + 1} for entry in added if entry["id"] >= position]
    return [*before, _token("<|yue|>", position, special=True), *after]


def _token(content: str, token_id: int, *, special: bool) -> Layout:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
    return {"id": token_id, "content": content, **flags, "special": special}
