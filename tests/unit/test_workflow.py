from pathlib import Path

import pytest

import liteasr
from liteasr.nn import LowRankLinear
from liteasr.sources import SpeechModel


def plan_for(share: float) -> liteasr.ThresholdConfig:
    return liteasr.ThresholdConfig(attention=share, mlp=share)


def test_compress_and_save_in_two_lines(
    tiny_speech: SpeechModel, recordings: Path, tmp_path: Path
) -> None:
    lite = liteasr.compress(tiny_speech, audio=recordings, preset="fast")
    path = lite.save(tmp_path / "lite")
    transcriber = liteasr.load_transcriber(path)
    assert isinstance(transcriber.transcribe(recordings / "clip-0.wav").text, str)
    assert any(isinstance(module, LowRankLinear) for module in lite.speech.model.modules())


def test_moments_make_the_second_plan_free(make_speech, recordings: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    moments = tmp_path / "moments.safetensors"
    first = liteasr.compress(
        make_speech(), audio=recordings, moments=moments, config=plan_for(0.99)
    )
    second = liteasr.compress(make_speech(), moments=moments, config=plan_for(0.9))
    assert second.report.parameters_after < first.report.parameters_after
    again = liteasr.compress(make_speech(), moments=moments, plan=first.plan)
    assert again.report == first.report


def test_a_budget_is_kept_and_probed_once(make_speech, recordings: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    moments = tmp_path / "moments.safetensors"
    lite = liteasr.compress(make_speech(), audio=recordings, moments=moments, keep=0.8)
    assert lite.report.kept <= 0.8
    again = liteasr.compress(make_speech(), moments=moments, keep=0.8)
    assert again.plan == lite.plan
    with pytest.raises(ValueError, match="give audio"):
        liteasr.workflow.find_sensitivity(make_speech(), {}, None, None)


def test_samples_are_provenance(tiny_speech: SpeechModel, recordings: Path) -> None:
    lite = liteasr.compress(tiny_speech, audio=recordings, samples=2, seed=1)
    assert lite.calibration is not None
    assert lite.calibration.utterances == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"audio": "x", "preset": "sparkle"}, "acc, plain, fast, got 'sparkle'"),
        ({"audio": "x", "preset": "acc", "config": liteasr.ThresholdConfig()}, "got 2 of them"),
        ({}, "give audio"),
        ({"audio": "x", "keep": 0.5, "preset": "acc"}, "got 2 of them"),
    ],
)
def test_contradictions_are_refused(tiny_speech, arguments, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        liteasr.compress(tiny_speech, **arguments)
