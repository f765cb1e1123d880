"""What two transcripts may differ in without being wrong: case, punctuation, spelling."""

import json
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from liteasr._optional import require

__all__ = ["Rules", "language_code", "normalizer_for", "unit_for"]

Rules = Literal["whisper", "open-asr"]

# written without spaces, so words cannot be counted: scored by characters
CHARACTER_LANGUAGES = frozenset({"zh", "ja", "yue", "th", "lo", "my"})


def normalizer_for(language: str | None, rules: Rules = "whisper") -> Callable[[str], str]:
    """Give the function that both texts pass through before they are compared.

    English gets Whisper's ``EnglishTextNormalizer`` with its British-American spelling map;
    every other language, and an unknown one, gets ``BasicTextNormalizer``, without spaces
    where a language is scored by characters. That normalizer takes combining marks for
    symbols, so Thai, Lao and Burmese vowel signs do not count.

    ``open-asr`` differs in English alone: dots that trail off vanish, and the letters of an
    abbreviation are written together, as the Open ASR Leaderboard does.

    Args:
        language: A code (``"en"``, ``"en_us"``) or an English name, in any case.
        rules: ``whisper`` or ``open-asr``.

    Raises:
        MissingDependencyError: The extra ``evaluate`` is not installed.
        ValueError: The rules are not known.

    Source: appendix C of the Whisper paper (arXiv:2212.04356); the normalizer of
    huggingface/open_asr_leaderboard as of its commit 0c261bf. Later ones also fold variants of
    first names.
    """
    if rules not in get_args(Rules):
        raise ValueError(f"rules must be one of {', '.join(get_args(Rules))}, got {rules!r}")
    code = language_code(language)
    if code == "en":
        return _english() if rules == "whisper" else _open_asr()
    return _without_spaces() if code in CHARACTER_LANGUAGES else _basic()


def unit_for(language: str | None) -> str:
    """Say what errors of a language are counted in: ``"word"`` or ``"character"``."""
    return "character" if language_code(language) in CHARACTER_LANGUAGES else "word"


def language_code(language: str | None) -> str | None:
    """Give the code of a language: ``English``, ``en-US`` and ``en_us`` are all ``en``."""
    if language is None:
        return None
    plain = language.strip().lower()
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    code: str = TO_LANGUAGE_CODE.get(plain) or re.split("[-_]", plain)[0]
    return "zh" if code == "cmn" else code


@cache
def _english() -> Callable[[str], str]:
    return _stripped(_english_normalizer())


@cache
def _open_asr() -> Callable[[str], str]:
    normalize = _english_normalizer()
    # they come between the fillers and the contractions, which start this table
    normalize.replacers = {**_abbreviations(), **normalize.replacers}

    def without_ellipses(text: str) -> str:
        ended = re.sub(r"\.{3,}\s*$", "", text)
        return str(normalize(re.sub(r"\s*\.{3,}\s*", " ", ended)))

    return _stripped(without_ellipses)


def _english_normalizer() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    require("whisper_normalizer", extra="evaluate")
    spelling = files("whisper_normalizer") / "normalizers" / "english.json"
    return EnglishTextNormalizer(json.loads(spelling.read_text(encoding="utf-8")))


def _abbreviations() -> dict[str, str]:
    """Patterns for letters with dots between them, and what they become: the letters alone."""
    dotted = {count: r"\b" + r"\.".join(["([a-z])"] * count) for count in (4, 3, 2)}
    spaced = {count: r"\b" + r"\.\s+".join(["([a-z])"] * count) for count in (4, 3, 2)}
    letters = {count: "".join(rf"\{n}" for n in range(1, count + 1)) for count in (4, 3, 2)}
    return {
        dotted[3] + r"\.s\b": letters[3] + "s",
        **{dotted[count] + r"\.?\b": letters[count] for count in letters},
        **{spaced[count] + r"\.\b": letters[count] for count in letters},
    }


@cache
def _basic() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return _stripped(BasicTextNormalizer(remove_diacritics=False, split_letters=False))


@cache
def _without_spaces() -> Callable[[str], str]:
    basic = _basic()
    return lambda text: "".join(basic(text).split())


def _stripped(normalize: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: normalize(text).strip()
