"""The ids a Whisper decoder must know, read from its tokenizer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from liteasr.errors import SourceError

__all__ = ["WhisperTokens", "non_speech_tokens"]

_LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")
_BRACKETS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_RUNS = (
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))"),
    *("[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
)
_MUSIC = "♩♪♫♬♭♮♯"
# GPT-2's vocabulary, which only the English models use, ends one id earlier.
_ENGLISH_END_OF_TEXT = 50256


def non_speech_tokens(encode: Callable[[str], list[int]]) -> tuple[int, ...]:
    """List the tokens that write no speech: brackets, speaker dashes, music notes.

    A note is several tokens in some vocabularies; its first one is then suppressed, which only
    other symbols of the same Unicode block share. Hyphens and quotes stay allowed inside words.

    Reference: openai-whisper, ``Tokenizer.non_speech_tokens``.
    """
    leading = [" -", " '", *_MUSIC, *(f" {note}" for note in _MUSIC)]
    found = {encode(text)[0] for text in leading}
    for text in (*_BRACKETS, *_RUNS):
        found.update(ids[0] for ids in (encode(text), encode(f" {text}")) if len(ids) == 1)
    return tuple(sorted(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class WhisperTokens:
    """The special tokens of one vocabulary.

    Attributes:
        end_of_text: Ends a transcript; also the padding.
        start_of_transcript: Starts the decoder's prompt.
        translate: Task token.
        transcribe: Task token.
        start_of_language_model: Unused by recognition, suppressed.
        start_of_previous: Starts the text of the window before.
        no_speech: Says that a window is silent.
        no_timestamps: Ends a prompt without timestamps; the timestamps follow it.
        blank: A single space.
        languages: Language tokens, such as ``<|en|>``, in the order of their ids.
        non_speech: Tokens that write no speech.
    """

    end_of_text: int
    start_of_transcript: int
    translate: int
    transcribe: int
    start_of_language_model: int
    start_of_previous: int
    no_speech: int
    no_timestamps: int
    blank: int
    languages: Mapping[str, int]
    non_speech: tuple[int, ...]

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary is the one of the multilingual models."""
        return self.end_of_text != _ENGLISH_END_OF_TEXT

    @property
    def suppressed(self) -> list[int]:
        """Tokens a transcript never holds: those that write no speech, and the special ones."""
        special = (
            self.translate,
            self.transcribe,
            self.start_of_transcript,
            self.start_of_previous,
            self.start_of_language_model,
            self.no_speech,
        )
        return sorted({*self.non_speech, *special})

    @classmethod
    def of(cls, tokenizer: Any) -> "WhisperTokens":
        """Look the tokens up in a transformers tokenizer.

        Raises:
            SourceError: The tokenizer lacks one, so it is no Whisper tokenizer.
        """
        vocabulary: dict[str, int] = tokenizer.get_vocab()

        def one(*names: str) -> int:
            for name in names:
                if name in vocabulary:
                    return vocabulary[name]
            raise SourceError(f"the tokenizer has no {names[0]}: it is no Whisper tokenizer")

        def encode(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False))

        start, translate = one("<|startoftranscript|>"), one("<|translate|>")
        languages = [(i, token) for token, i in vocabulary.items() if start < i < translate]
        return cls(
            end_of_text=one("<|endoftext|>"),
            start_of_transcript=start,
            translate=translate,
            transcribe=one("<|transcribe|>"),
            start_of_language_model=one("<|startoflm|>"),
            start_of_previous=one("<|startofprev|>"),
            no_speech=one("<|nospeech|>", "<|nocaptions|>"),
            no_timestamps=one("<|notimestamps|>"),
            blank=encode(" ")[0],
            languages={t: i for i, t in sorted(languages) if _LANGUAGE.fullmatch(t)},
            non_speech=non_speech_tokens(encode),
        )
