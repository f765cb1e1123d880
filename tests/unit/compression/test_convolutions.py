"""Laws of the convolution before the blocks: under budgets of parameters it may be a chain."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import liteasr
from liteasr.calibration import Calibration, calibrate
from liteasr.checkpoint import CompressedModel, load
from liteasr.compression import compress_
from liteasr.corpus import load_corpus
from liteasr.encoders import run_encoder
from liteasr.errors import CheckpointError, PlanError
from liteasr.nn import LowRankConv1d
from liteasr.plan import BudgetConfig, Costs, LayerPlan, RankPlan, plan_ranks, spectra_of
from liteasr.plan.flops import count_flops
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sources import SpeechModel

Made = tuple[SpeechModel, Calibration, Sensitivity]


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


@pytest.fixture
def made(make_speech: Callable[..., SpeechModel], recordings: Path) -> Made:
    speech, corpus = make_speech(), load_corpus(recordings)
    weight = speech.model.get_encoder().conv2.weight
    narrow = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) / 8
    weight.data = (narrow @ weight.flatten(1)[:8]).reshape(weight.shape)  # like one that learned
    calibration = calibrate(speech, corpus)
    return speech, calibration, probe(speech, spectra_of(speech, calibration), corpus, windows=1)


def planned(made: Made, **values: object) -> RankPlan:
    speech, calibration, sensitivity = made
    config = BudgetConfig(**{"keep": 0.6, "multiple_of": 4, **values})  # type: ignore[arg-type]
    spectra = spectra_of(speech, calibration)
    return plan_ranks(speech, spectra, config, sensitivity=sensitivity)


def test_it_becomes_a_chain_and_the_budget_is_met(made: Made, tmp_path: Path, babble) -> None:  # type: ignore[no-untyped-def]
    speech, calibration, _ = made
    plan = planned(made)
    first = plan.layers[0]
    assert (first.name, first.form, first.in_features) == ("conv2", "chain", 3 * 64)
    costs = Costs(unit="parameters", model=speech.model)
    expected, whole = costs.of(plan), costs.whole
    report = compress_(speech, plan, spectra_of(speech, calibration))
    assert report.parameters_after == expected <= 0.6 * whole
    encoder = speech.model.get_encoder()
    assert isinstance(encoder.conv2, LowRankConv1d)
    again = load(CompressedModel(speech=speech, plan=plan, report=report).save(tmp_path / "lite"))
    window = next(liteasr.encoders.adapter_for(encoder).inputs(speech.processor, babble(9, 3.0)))
    found = run_encoder(again.speech.model.get_encoder(), window)
    torch.testing.assert_close(found, run_encoder(encoder, window))
    assert again.speech.model.get_encoder()(window.tensors["input_features"])[0].isfinite().all()


def test_its_flops_are_those_of_the_positions_it_puts_out(made: Made) -> None:
    speech, *_ = made
    vectors = count_flops(speech.model).vectors
    assert vectors["conv2"] == vectors["layers.0.fc1"] == 250
    costs = Costs(unit="flops", model=speech.model)
    plan = planned(made)
    without = replace(plan, layers=plan.layers[1:])
    saved = 2 * 250 * (3 * 64 * 64 - plan.layers[0].multiplied)
    assert costs.of(without) - costs.of(plan) == saved


@pytest.mark.parametrize("values", [{"convolutions": False}, {"unit": "flops", "keep": 0.8}])
def test_it_stays_where_it_shall(made: Made, values: dict[str, object]) -> None:
    assert all(layer.name != "conv2" for layer in planned(made, **values))


def test_calibrations_that_did_not_look_at_it_plan_without_it(
    made: Made, recordings: Path, make_speech: Callable[..., SpeechModel]
) -> None:
    speech, calibration, sensitivity = made
    moments = {key: part for key, part in calibration.moments.items() if "conv2" not in key}
    older = replace(calibration, moments=moments)
    spectra = spectra_of(speech, older)
    assert "conv2" not in spectra
    assert "conv2" not in probe(speech, spectra, load_corpus(recordings), windows=1).curves
    assert all(layer.name != "conv2" for layer in planned((speech, older, sensitivity)))


def test_an_interrupted_calibration_goes_on_where_it_looked(
    made: Made, recordings: Path, tmp_path: Path
) -> None:
    speech, calibration, _ = made
    moments = {key: part for key, part in calibration.moments.items() if "conv2" not in key}
    begun = replace(
        calibration,
        moments=moments,
        counted=calibration.counted[:1],
        provenance=replace(calibration.provenance, utterances=1),
    )
    begun.save(tmp_path / "moments.safetensors.partial")
    ended = calibrate(speech, load_corpus(recordings), path=tmp_path / "moments.safetensors")
    assert ended.moments.keys() == moments.keys()


def test_the_published_layout_cannot_hold_it(made: Made, tmp_path: Path) -> None:
    speech, calibration, _ = made
    plan = planned(made, joint=False, units=False, pivots=False)
    report = compress_(speech, plan, spectra_of(speech, calibration))
    lite = CompressedModel(speech=speech, plan=plan, report=report)
    with pytest.raises(CheckpointError, match="or plan with convolutions=False"):
        lite.save(tmp_path / "lite", layout="lite-whisper")


def test_a_plan_by_hand_fits_its_shape(made: Made) -> None:
    speech, calibration, _ = made
    plan = planned(made)
    wrong: LayerPlan = replace(plan.layers[0], in_features=64)
    with pytest.raises(PlanError, match="the plan says 64"):
        compress_(
            speech,
            replace(plan, layers=(wrong, *plan.layers[1:])),
            spectra_of(speech, calibration),
        )
