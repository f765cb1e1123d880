"""When each word was said: cross-attention that follows the audio, and words from tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.encoders import output_pooling
from liteasr.errors import TranscriptionError
from liteasr.runtime.decoding import text_of
from liteasr.transcript import Word

__all__ = ["split_into_words", "token_times", "words_of"]

# written without spaces, so that every character stands alone
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


@torch.inference_mode()
def token_times(
    model: Any,
    encoded: Float[Tensor, "1 seq width"],
    prompt: Sequence[int],
    tokens: Sequence[int],
    *,
    frames: int,
    name: str,
) -> list[float]:
    """Align decoded tokens with the audio by dynamic time warping over cross-attention.

    Returns:
        The start of each token, and the end of the last, in seconds from the window's start.

    Raises:
        TranscriptionError: The model does not say which heads follow the audio.

    Source: ``whisper/timing.py`` of openai/whisper.
    """
    from transformers.generation.utils import GenerateEncoderDecoderOutput

    heads = getattr(model.generation_config, "alignment_heads", None)
    if not heads:
        raise TranscriptionError(
            f"{name} has no alignment_heads in its generation_config: turn word_timestamps off"
        )
    end = model.generation_config.eos_token_id
    ids = torch.tensor([[*prompt, *tokens, end]], device=encoded.device)
    # the alignment counts positions of 20 ms
    encoded = encoded.repeat_interleave(output_pooling(model.get_encoder()), dim=1)
    with _showing_attention(model):
        out = model(
            encoder_outputs=(encoded,), decoder_input_ids=ids, output_attentions=True,
            use_cache=False,
        )  # fmt: skip
    seen = GenerateEncoderDecoderOutput(sequences=ids, cross_attentions=(out.cross_attentions,))
    times: Tensor = model._extract_token_timestamps(
        seen, heads, num_frames=max(frames, 2), num_input_ids=len(prompt)
    )
    return [float(time) for time in times[0, len(prompt) : len(prompt) + len(tokens) + 1]]


def words_of(
    tokenizer: Any,
    tokens: Sequence[int],
    times: Sequence[float],
    probabilities: Sequence[float],
    *,
    language: str | None,
    offset_s: float,
    end_s: float,
) -> tuple[Word, ...]:
    """Give the words of a segment; ``times`` has one entry more than ``tokens``."""
    words = []
    for text, indices in split_into_words(tokenizer, tokens, language):
        likely = [probabilities[i] for i in indices]
        start = min(offset_s + times[indices[0]], end_s)
        words.append(
            Word(
                start=round(start, 3),
                end=round(min(max(offset_s + times[indices[-1] + 1], start), end_s), 3),
                word=text,
                probability=sum(likely) / len(likely),
            )
        )
    return tuple(words)


def split_into_words(
    tokenizer: Any, tokens: Sequence[int], language: str | None
) -> list[tuple[str, list[int]]]:
    """Group text tokens into words, with the indices of each word's tokens.

    Source: ``split_to_word_tokens`` of openai/whisper; punctuation stays with its word.
    """
    words: list[tuple[str, list[int]]] = []
    for text, indices in _characters(tokenizer, tokens):
        after_space = bool(words) and not words[-1][0].strip()
        begins = text.startswith(" ")
        if language in UNSPACED:  # punctuation ends the word before it
            begins = any(character.isalnum() for character in text) and not after_space
        if words and not begins:
            joined, before = words[-1]
            words[-1] = (joined + text, before + indices)
        else:
            words.append((text, indices))
    return words


def _characters(tokenizer: Any, tokens: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Join tokens until they are whole UTF-8 characters; special tokens are left out."""
    pending: list[int] = []
    for index, token in enumerate(tokens):
        if token >= tokenizer.eos_token_id:
            continue
        pending.append(index)
        text = text_of(tokenizer, [tokens[i] for i in pending])
        if "\ufffd" not in text:
            yield text, pending
            pending = []
    if pending:
        yield text_of(tokenizer, [tokens[i] for i in pending]), pending


@contextmanager
def _showing_attention(model: Any) -> Iterator[None]:
    """Use eager attention for a while: the fused kernels do not give their weights."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
