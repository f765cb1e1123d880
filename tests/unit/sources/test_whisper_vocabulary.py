"""Tokens, processors and generation settings, against the real vocabularies where it matters."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor

from liteasr.errors import SourceError
from liteasr.sources import SpeechModel, fetch
from liteasr.sources.whisper_generation import WhisperFacts, generation_config
from liteasr.sources.whisper_processor import build_processor, find_tokenizer
from liteasr.sources.whisper_tokens import WhisperTokens

TIMESTAMP_WORDS = "<|0.00|> Hello.<|1.20|>"


@pytest.fixture(scope="module")
def tokens(whisper_folders: dict[str, Path]) -> Any:
    cached: dict[tuple[str, int], Any] = {}

    def make(name: str, vocab_size: int) -> tuple[Any, WhisperTokens]:
        if (name, vocab_size) not in cached:
            path = whisper_folders[name] / "tokenizer.json"
            made = build_processor(path, n_mels=80, vocab_size=vocab_size)
            cached[name, vocab_size] = (made, WhisperTokens.of(made.tokenizer))
        return cached[name, vocab_size]

    return make


@pytest.fixture(scope="module")
def whisper_folders() -> dict[str, Path]:
    return {name: fetch(name) for name in ("whisper-base", "whisper-tiny.en")}


@pytest.mark.real
@pytest.mark.parametrize(("name", "size"), [("whisper-base", 51865), ("whisper-tiny.en", 51864)])
def test_computed_suppression_equals_the_published_lists(
    name: str, size: int, tokens: Any, whisper_folders: dict[str, Path]
) -> None:
    published = json.loads((whisper_folders[name] / "config.json").read_text())
    _, found = tokens(name, size)
    assert found.suppressed == published["suppress_ids"]
    assert [found.blank, found.end_of_text] == published["suppress_ids_begin"]
    if found.is_multilingual:
        assert sorted(found.languages.values()) == published["lang_ids"]
    layers, heads = (6, 8) if found.is_multilingual else (4, 6)
    settings = generation_config(found, decoder_layers=layers, decoder_heads=heads, vocab_size=size)
    assert settings.alignment_heads == published["alignment_heads"]
    assert settings.is_multilingual == (name == "whisper-base")
    assert hasattr(settings, "lang_to_id") == found.is_multilingual


@pytest.mark.real
@pytest.mark.parametrize(("name", "size"), [
    ("whisper-base", 51865), ("whisper-base", 51866), ("whisper-tiny.en", 51864)])  # fmt: skip
def test_the_processor_survives_saving(name: str, size: int, tokens: Any, tmp_path: Path) -> None:
    made, found = tokens(name, size)
    assert len(made.tokenizer) == size
    assert made.tokenizer.convert_tokens_to_ids("<|0.00|>") == found.no_timestamps + 1
    made.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    for text in ("Hello, world! (laughs)", TIMESTAMP_WORDS, "你好"):
        ids = made.tokenizer(text).input_ids
        assert again.tokenizer(text).input_ids == ids
        assert again.tokenizer.decode(ids) == made.tokenizer.decode(ids)
    ids = made.tokenizer(TIMESTAMP_WORDS, add_special_tokens=False).input_ids
    assert again.tokenizer.decode(ids, skip_special_tokens=True) == " Hello."
    assert again.tokenizer.decode(ids, decode_with_timestamps=True) == TIMESTAMP_WORDS


@pytest.mark.real
def test_cantonese_shifts_every_later_token_by_one(tokens: Any) -> None:
    _, old = tokens("whisper-base", 51865)
    made, new = tokens("whisper-base", 51866)
    assert len(new.languages) == 100
    assert new.languages["<|yue|>"] == new.languages["<|su|>"] + 1 == 50358
    assert (new.translate, new.transcribe) == (old.translate + 1, old.transcribe + 1)
    assert (new.start_of_previous, new.no_timestamps) == (50362, 50364)
    assert made.tokenizer.convert_tokens_to_ids("<|30.00|>") == 51865
    assert made.tokenizer("a").input_ids[:2] == [50258, 50364]
    settings = generation_config(new, decoder_layers=4, decoder_heads=20, vocab_size=51866)
    assert settings.alignment_heads == [[2, 4], [2, 11], [3, 3], [3, 6], [3, 11], [3, 14]]


@pytest.mark.real
@pytest.mark.parametrize(("size", "name"), [
    (51864, "whisper-tiny.en"), (51865, "whisper-base"), (51866, "whisper-base")])  # fmt: skip
def test_a_bundled_tokenizer_stands_in(
    size: int, name: str, whisper_folders: dict[str, Path], tmp_path: Path
) -> None:
    assert find_tokenizer(tmp_path, size) == whisper_folders[name] / "tokenizer.json"


def test_unknown_heads_are_the_upper_half(tiny_speech: SpeechModel) -> None:
    found = WhisperTokens.of(tiny_speech.processor.tokenizer)
    shape = {"decoder_layers": 3, "decoder_heads": 2, "vocab_size": 9}
    heads = generation_config(found, **shape).alignment_heads
    assert heads == [[1, 0], [1, 1], [2, 0], [2, 1]]
    given = generation_config(found, facts=WhisperFacts(alignment_heads=((2, 1),)), **shape)
    assert given.alignment_heads == [[2, 1]]


def test_another_tokenizer_is_refused(tiny_speech: SpeechModel, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(SourceError, match=r"no <\|startoftranscript\|>"):
        WhisperTokens.of(other)
    path = tmp_path / "tokenizer.json"
    tiny_speech.processor.tokenizer.backend_tokenizer.save(str(path))
    with pytest.raises(SourceError, match="belongs to another model"):
        build_processor(path, n_mels=80, vocab_size=300)
