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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("The U.S.A. won...", "the usa won"),
        ("I... I think so", "i i think so"),
        ("a B.B.C.'s report", "a bbc is report"),
        ("F.B.I.s", "fbis"),
        ("U.N. or N.A.T.O", "un or nato"),
        ("9 M.M.", "9 mm"),
        ("Mr. Smith paid $3.50", "mister smith paid $3.50"),
        ("the colour of armour", "the color of armor"),
    ],
)
def test_the_leaderboards_rules(given: str, expected: str) -> None:
    assert normalizer_for("en", "open-asr")(given) == expected


def test_the_leaderboards_rules_leave_whispers_alone() -> None:
    assert normalizer_for("en", "open-asr")("U.S.A.") == "usa"
    assert normalizer_for("en")("U.S.A.") == "u s a"
    assert normalizer_for("de", "open-asr")("Grüße...") == normalizer_for("de")("Grüße...")
    with pytest.raises(ValueError, match="whisper, open-asr"):
        normalizer_for("en", "other")  # type: ignore[arg-type]
