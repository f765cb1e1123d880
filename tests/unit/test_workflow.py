from collections.abc import Callable
from pathlib import Path

import pytest

import liteasr
from liteasr.artefacts import find_sensitivity, sensitivity_file
from liteasr.calibration import places
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Spectra
from liteasr.nn import LowRankLinear
from liteasr.plan import DEFAULT_KEEP, Costs
from liteasr.sources import SpeechModel


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


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
        find_sensitivity(make_speech(), liteasr.Calibration.load(moments), Spectra({}), None, None)


def test_sensitivities_of_another_model_are_probed_again(  # type: ignore[no-untyped-def]
    make_speech, recordings: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    liteasr.compress(make_speech(seed=1), audio=recordings, moments=first, keep=0.8)
    before = sensitivity_file(first).read_text()
    sensitivity_file(second).write_text(before)
    liteasr.compress(make_speech(seed=2), audio=recordings, moments=second, keep=0.8)
    assert sensitivity_file(second).read_text() != before


def test_sensitivities_of_other_spectra_are_probed_again(  # type: ignore[no-untyped-def]
    make_speech, recordings: Path, tmp_path: Path
) -> None:
    moments = tmp_path / "moments.safetensors"
    liteasr.compress(make_speech(), audio=recordings, moments=moments, keep=0.8, samples=3)
    before = sensitivity_file(moments).read_text()
    moments.unlink()  # as the error about another corpus says
    liteasr.calibrate(make_speech(), liteasr.load_corpus(recordings), path=moments)
    with pytest.raises(CalibrationError, match="give audio to probe again"):
        liteasr.compress(make_speech(), moments=moments, keep=0.8)
    liteasr.compress(make_speech(), audio=recordings, moments=moments, keep=0.8)
    assert sensitivity_file(moments).read_text() != before
    liteasr.compress(make_speech(), moments=moments, keep=0.7)


def test_flops_are_a_budget_too(make_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    lite = liteasr.compress(make_speech(), audio=recordings, flops=0.8)
    assert lite.plan.options["unit"] == "flops"
    costs = Costs(unit="flops", model=make_speech().model)
    assert 0.7 < costs.of(lite.plan) / costs.dense <= 0.8


def test_the_rule_is_a_budget_where_none_is_named(make_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    lite = liteasr.compress(make_speech(), audio=recordings)
    assert lite.plan.rule == "budget"
    assert lite.report.kept <= DEFAULT_KEEP


def test_a_plan_that_does_not_fit_is_refused_before_the_work(  # type: ignore[no-untyped-def]
    make_speech, tiny_speech, recordings: Path
) -> None:
    plan = liteasr.compress(tiny_speech, audio=recordings, preset="fast").plan
    with pytest.raises(PlanError, match="the plan says"):
        liteasr.compress(make_speech(width=128), audio="no such place", plan=plan)
    with pytest.raises(ValueError, match="not both"):
        liteasr.compress(make_speech(), audio=recordings, plan=plan, keep=0.5)


def test_refining_in_one_call_and_later(make_speech, recordings: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = liteasr.RefinementConfig(steps=1, batch_size=1)
    lite = liteasr.compress(make_speech(), audio=recordings, preset="fast", refinement=config)
    assert lite.refinement is not None
    assert lite.refinement.steps == 1
    again = liteasr.load(lite.save(tmp_path / "lite"))
    assert again.refinement == lite.refinement
    more = liteasr.refine(again, audio=recordings, original=make_speech(), config=config)
    assert more.refinement is not None
    assert more.refinement.before == pytest.approx(lite.refinement.after, rel=1e-3)


def test_samples_are_provenance(tiny_speech: SpeechModel, recordings: Path) -> None:
    lite = liteasr.compress(tiny_speech, audio=recordings, samples=2, seed=1)
    assert lite.calibration is not None
    assert lite.calibration.utterances == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"audio": "x", "preset": "sparkle"}, "acc, plain, fast, got 'sparkle'"),
        (
            {"audio": "x", "preset": "acc", "config": liteasr.ThresholdConfig()},
            "not preset and config",
        ),
        ({}, "give audio"),
        ({"audio": "x", "keep": 0.5, "preset": "acc"}, "not keep and preset"),
    ],
)
def test_contradictions_are_refused(tiny_speech, arguments, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        liteasr.compress(tiny_speech, **arguments)


def test_hidden_units_are_looked_at_where_a_plan_needs_them(  # type: ignore[no-untyped-def]
    make_speech, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite = liteasr.compress(make_speech(), audio=recordings, keep=0.6)
    assert any(layer.by_unit for layer in lite.plan)
    monkeypatch.setattr(places, "MOST_BYTES", 0)
    again = liteasr.compress(make_speech(), audio=recordings, plan=lite.plan)
    assert again.report == lite.report
    without = liteasr.compress(make_speech(), audio=recordings, keep=0.6)
    assert not any(layer.by_unit for layer in without.plan)
    asked = liteasr.compress(make_speech(), audio=recordings, keep=0.6, units=True)
    assert asked.plan == lite.plan
    monkeypatch.undo()
    moments = tmp_path / "m.safetensors"
    liteasr.compress(make_speech(), audio=recordings, moments=moments, preset="fast")
    assert liteasr.Calibration.load(moments).hidden, "the next plan may be a budget"
    refused = liteasr.compress(make_speech(), audio=recordings, keep=0.6, units=False)
    assert not any(layer.by_unit for layer in refused.plan)
