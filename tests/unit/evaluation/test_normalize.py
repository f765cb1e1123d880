"""Examples of Whisper's own tests (openai/whisper, tests/test_normalizer.py)."""

import pytest

from liteasr.evaluation.normalize import language_code, normalizer_for, unit_for


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Let's", "let us"),
        ("he's like", "he is like"),
        ("she's been like", "she has been like"),
        ("10km", "10 km"),
        ("10mm", "10 mm"),
        ("RC232", "rc 232"),
        ("Mr. Park visited Assoc. Prof. Kim Jr.",
         "mister park visited associate professor kim junior"),
        ("two thousand and ten", "2010"),
        ("three hundred forty five dollars", "$345"),
        ("twenty twenty-five", "2025"),
        ("double oh seven", "007"),
        ("the colour of armour", "the color of armor"),
        ("mobilisation", "mobilization"),
        ("cancelation", "cancellation"),
        ("(laughs) um, hmm [noise] yes", "yes"),
    ],
)  # fmt: skip
def test_english(given: str, expected: str) -> None:
    assert normalizer_for("English")(given) == expected


def test_other_languages_keep_their_marks() -> None:
    assert normalizer_for("de")("Grüße, 3 Äpfel!") == "grüße 3 äpfel"
    assert normalizer_for(None)("The colour.") == "the colour"


@pytest.mark.parametrize(
    "language", ["zh", "Chinese", "cmn_hans_cn", "ja", "yue", "th", "lo", "my"]
)
def test_languages_without_spaces_are_scored_by_characters(language: str) -> None:
    assert unit_for(language) == "character"
    assert normalizer_for(language)(" 今天 天气,很好。") == "今天天气很好"


@pytest.mark.parametrize(
    ("given", "code"),
    [("en_us", "en"), ("EN-GB", "en"), ("German", "de"), ("fr", "fr"), (None, None)],
)
def test_codes(given: str | None, code: str | None) -> None:
    assert language_code(given) == code
