"""A complete generation configuration for any Whisper, however little its files say."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from liteasr.errors import SourceError
from liteasr.sources.whisper_tokens import WhisperTokens

__all__ = ["WhisperFacts", "complete_generation_config", "generation_config"]

Heads = tuple[tuple[int, int], ...]

# The heads that OpenAI published for its models, by decoder layers, heads and vocabulary.
# large-v1 and large-v2 share one shape and differ in heads, so that shape is left out.
_PUBLISHED_HEADS: Mapping[tuple[int, int, int], Heads] = {
    (4, 6, 51864): ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    (4, 6, 51865): ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    (6, 8, 51864): ((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    (6, 8, 51865): ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    (12, 12, 51864): (
        *((6, 6), (7, 0), (7, 3), (7, 8), (8, 2), (8, 5), (8, 7), (9, 0), (9, 4), (9, 8)),
        *((9, 10), (10, 0), (10, 1), (10, 2), (10, 3), (10, 6), (10, 11), (11, 2), (11, 4)),
    ),
    (12, 12, 51865): (
        *((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5)),
    ),
    (24, 16, 51864): (
        *((11, 4), (14, 1), (14, 12), (14, 14), (15, 4), (16, 0), (16, 4), (16, 9), (17, 12)),
        *((17, 14), (18, 7), (18, 10), (18, 15), (20, 0), (20, 3), (20, 9), (20, 14), (21, 12)),
    ),
    (24, 16, 51865): ((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    (32, 20, 51866): (
        *((7, 0), (10, 17), (12, 18), (13, 12), (16, 1), (17, 14), (19, 11), (21, 4), (24, 1)),
        (25, 6),
    ),
    (4, 20, 51866): ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WhisperFacts:
    """What a model's files say about decoding; None where they are silent.

    Attributes:
        alignment_heads: Cross-attention heads (layer, head) that follow the audio in time.
        suppress_tokens: Tokens never written.
        begin_suppress_tokens: Tokens never written first.
    """

    alignment_heads: Heads | None = None
    suppress_tokens: tuple[int, ...] | None = None
    begin_suppress_tokens: tuple[int, ...] | None = None


def generation_config(
    tokens: WhisperTokens,
    *,
    decoder_layers: int,
    decoder_heads: int,
    vocab_size: int,
    max_length: int = 448,
    facts: WhisperFacts | None = None,
) -> Any:
    """Build a transformers ``GenerationConfig`` that leaves nothing to a default.

    Raises:
        SourceError: An alignment head lies outside the decoder.
    """
    from transformers import GenerationConfig

    facts = facts or WhisperFacts()
    heads = _alignment_heads(facts, decoder_layers, decoder_heads, vocab_size)
    suppress, begin = facts.suppress_tokens, facts.begin_suppress_tokens
    first = (tokens.blank, tokens.end_of_text) if begin is None else begin
    values: dict[str, Any] = {
        "alignment_heads": [list(head) for head in heads],
        "suppress_tokens": tokens.suppressed if suppress is None else list(suppress),
        "begin_suppress_tokens": list(first),
        "bos_token_id": tokens.end_of_text,
        "eos_token_id": tokens.end_of_text,
        "pad_token_id": tokens.end_of_text,
        "decoder_start_token_id": tokens.start_of_transcript,
        "no_timestamps_token_id": tokens.no_timestamps,
        "prev_sot_token_id": tokens.start_of_previous,
        "max_initial_timestamp_index": 50,  # one second, in steps of 20 ms
        "max_length": max_length,
        "return_timestamps": False,
        "is_multilingual": tokens.is_multilingual,
    }
    if tokens.is_multilingual:
        values["lang_to_id"] = dict(tokens.languages)
        values["task_to_id"] = {"transcribe": tokens.transcribe, "translate": tokens.translate}
    return GenerationConfig(**values)


def complete_generation_config(given: Any, config: Any, tokenizer: Any) -> Any:
    """Fill what a model's own generation configuration leaves out; what it says stays.

    Decoder ids forced by older checkpoints are dropped: they would override the language and
    task of a request.

    Args:
        given: The generation configuration that came with the model; it is changed.
        config: The model's configuration, for its sizes.
        tokenizer: The model's tokenizer, for its special tokens.
    """
    complete = generation_config(
        WhisperTokens.of(tokenizer),
        decoder_layers=config.decoder_layers,
        decoder_heads=config.decoder_attention_heads,
        vocab_size=config.vocab_size,
        max_length=config.max_target_positions,
    )
    for name, value in vars(complete).items():
        if name.startswith("_") or value is None:
            continue
        if getattr(given, name, None) is None:
            setattr(given, name, value)
    given.forced_decoder_ids = None
    return given


def _alignment_heads(facts: WhisperFacts, layers: int, heads: int, vocab_size: int) -> Heads:
    """Choose the given heads, the published ones, or as every toolkit does the upper half."""
    upper_half = tuple(product(range(layers // 2, layers), range(heads)))
    given = facts.alignment_heads
    if not given:
        return _PUBLISHED_HEADS.get((layers, heads, vocab_size), upper_half)
    for layer, head in given:
        if not (0 <= layer < layers and 0 <= head < heads):
            raise SourceError(
                f"alignment head ({layer}, {head}) is outside a decoder of {layers} layers with "
                f"{heads} heads: correct alignment_heads in the model's configuration"
            )
    return given
