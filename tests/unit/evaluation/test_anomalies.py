import pytest

from liteasr.evaluation import AnomalyCounts, ErrorCounts, ScoredUtterance, ScoreRow, rescore
from liteasr.evaluation.anomalies import is_loop

LOOP = "thank you for watching. " * 20


def heard(reference: str, hypothesis: str, language: str = "en") -> ScoredUtterance:
    bare = ScoredUtterance(
        id="u", language=language, reference=reference, hypothesis=hypothesis,
        counts=ErrorCounts(), duration_s=1.0, elapsed_s=1.0,
    )  # fmt: skip
    return rescore([bare])[0]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", AnomalyCounts()),
        ("", "", AnomalyCounts()),
        ("(applause)", "thanks", AnomalyCounts(silent=1)),
        ("we met in june", "we met in june and then we all went home", AnomalyCounts(bursts=1)),
        ("we met in june", "so we all met up in june once", AnomalyCounts()),
        ("bye", LOOP, AnomalyCounts(bursts=1, loops=1)),
        ("", LOOP, AnomalyCounts(silent=1, bursts=1, loops=1)),
        (LOOP, LOOP, AnomalyCounts()),
    ],
)
def test_what_was_made_up_is_counted(
    reference: str, hypothesis: str, expected: AnomalyCounts
) -> None:
    row = ScoreRow.of("en", [heard(reference, hypothesis), heard("x y", "x y")])
    assert row.anomalies == expected
    assert row.to_dict()["anomalies"] == expected.to_dict()


def test_a_text_that_repeats_in_the_reference_too_is_no_loop() -> None:
    assert is_loop("good bye", LOOP)
    assert not is_loop(LOOP, LOOP)
    assert not is_loop("good bye", "good bye, see you again next week at the same place")
