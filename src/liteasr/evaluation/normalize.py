"""What two transcripts may differ in without being wrong: case, punctuation, spelling."""

import json
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from liteasr._optional import require

__all__ = ["language_code", "normalizer_for", "unit_for"]

# written without spaces, so words cannot be counted: scored by characters
CHARACTER_LANGUAGES = frozenset({"zh", "ja", "yue", "th", "lo", "my"})


def normalizer_for(language: str | None) -> Callable[[str], str]:
    """Give the function that both texts pass through before they are compared.

    English gets Whisper's ``EnglishTextNormalizer`` with its British-American spelling map;
    every other language, and an unknown one, gets ``BasicTextNormalizer``, without spaces
    where a language is scored by characters. That normalizer takes combining marks for
    symbols, so Thai, Lao and Burmese vowel signs do not count.

    Args:
        language: A code (``"en"``, ``"en_us"``) or an English name, in any case.

    Raises:
        MissingDependencyError: The extra ``evaluate`` is not installed.

    Source: appendix C of the Whisper paper (arXiv:2212.04356).
    """
    code = language_code(language)
    if code == "en":
        return _english()
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
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    require("whisper_normalizer", extra="evaluate")
    spelling = files("whisper_normalizer") / "normalizers" / "english.json"
    mapping = json.loads(spelling.read_text(encoding="utf-8"))
    return _stripped(EnglishTextNormalizer(mapping))


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
