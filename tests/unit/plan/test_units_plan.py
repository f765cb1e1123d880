"""Laws of plans that remove hidden units: both layers of an MLP together, under one budget."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from liteasr.calibration import Calibration, calibrate
from liteasr.compression import compress_
from liteasr.corpus import load_corpus
from liteasr.encoders import Observation, Target, encoder_parameters
from liteasr.errors import PlanError
from liteasr.lowrank import break_even_rank
from liteasr.plan import BudgetConfig, Costs, LayerPlan, RankPlan, plan_ranks, spectra_of
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sources import SpeechModel
from tiny_whisper import tiny_whisper

Made = tuple[SpeechModel, Calibration, Sensitivity]


@pytest.fixture(scope="module")
def made(recordings: Path) -> Made:
    speech = tiny_whisper(blocks=2)
    corpus = load_corpus(recordings)
    calibration = calibrate(speech, corpus)
    spectra = spectra_of(speech, calibration, units=False)
    return speech, calibration, probe(speech, spectra, corpus, windows=1)


def units_target(**changes: object) -> Target:
    values = {"name": "layers.0.fc1", "group": "mlp", "block": 0, "in_features": 64}
    values |= {"out_features": 256, "observation": Observation("layers.0.fc1", "input"), **changes}
    return Target(**values)  # type: ignore[arg-type]


def test_both_layers_become_narrower() -> None:
    first = LayerPlan.of(units_target(), "units_out", 128)
    second = LayerPlan.of(units_target(in_features=256, out_features=64), "units_in", 128)
    assert (first.shape, second.shape) == ((64, 128), (128, 64))
    assert first.parameters == second.parameters == 64 * 128
    assert first.by_unit
    assert not first.joint
    with pytest.raises(PlanError, match="rank must be a whole number between 1 and 256, got 257"):
        LayerPlan.of(units_target(), "units_out", 257)


def test_what_is_left_of_a_layer_may_be_a_chain_in_turn() -> None:
    whole = LayerPlan.of(units_target(), "units_out", 128)
    chain = replace(whole, inner=40)
    assert chain.shape == whole.shape == (64, 128)
    assert (whole.inner_width, chain.inner_width) == (None, 40)
    assert chain.multiplied == 40 * (64 + 128)
    assert replace(chain, pivots=("inner",)).parameters == 40 * (64 + 128 - 40)
    with pytest.raises(PlanError, match="inner must be a whole number between 1 and 64, got 65"):
        replace(whole, inner=65)
    with pytest.raises(PlanError, match="inner belongs to units_out and units_in alone"):
        LayerPlan.of(units_target(), "chain", 8, inner=4)
    with pytest.raises(PlanError, match="a units_out layer has no inner pivots"):
        replace(whole, pivots=("inner",))


def test_chains_of_what_is_left_save_parameters_and_are_for_budgets_of_them(made: Made) -> None:
    speech, calibration, sensitivity = made
    spectra = spectra_of(speech, calibration)
    config = BudgetConfig(keep=0.4, multiple_of=4)
    plan = plan_ranks(speech, spectra, config, sensitivity=sensitivity)
    turned = [layer for layer in plan if layer.inner is not None]
    assert turned
    assert all(layer.by_unit and layer.pivots == ("inner",) for layer in turned)
    reduced = tiny_whisper(blocks=2)
    report = compress_(reduced, plan, spectra)
    assert report.parameters_after == Costs(unit="parameters", model=speech.model).of(plan)
    plain = plan_ranks(speech, spectra, replace(config, pivots=False), sensitivity=sensitivity)
    for layer in plain:
        if layer.inner is not None:
            assert not layer.pivots
            assert layer.inner < break_even_rank(*layer.shape)
    flops = plan_ranks(
        speech, spectra, replace(config, keep=0.6, unit="flops"), sensitivity=sensitivity
    )
    assert not any(layer.inner for layer in flops)


@pytest.mark.parametrize("keep", [0.85, 0.7, 0.55])
def test_the_budget_is_met_within_a_step(made: Made, keep: float) -> None:
    speech, calibration, sensitivity = made
    spectra = spectra_of(speech, calibration)
    plan = plan_ranks(speech, spectra, BudgetConfig(keep=keep), sensitivity=sensitivity)
    costs = Costs(unit="parameters", model=speech.model)
    assert costs.of(plan) <= keep * costs.dense
    assert costs.of(plan) > keep * costs.dense - 64 * (2 * 64 + 1)
    reduced = tiny_whisper(blocks=2)
    report = compress_(reduced, plan, spectra)
    assert report.parameters_after == costs.of(plan) == encoder_parameters(reduced.model)


def test_units_compete_and_never_lose_to_a_plan_without_them(made: Made) -> None:
    speech, calibration, sensitivity = made
    spectra = spectra_of(speech, calibration)
    config = BudgetConfig(keep=0.55)
    plan = plan_ranks(speech, spectra, config, sensitivity=sensitivity)
    taken = [layer for layer in plan if layer.by_unit]
    assert {layer.reason for layer in taken} == {"budget, by unit"}
    assert all(0 < layer.explained < 1 for layer in taken)
    alone = plan_ranks(speech, spectra, replace(config, units=False), sensitivity=sensitivity)
    assert not any(layer.by_unit for layer in alone)
    without = spectra_of(speech, calibration, units=False)
    assert without.mlps == {}
    assert plan_ranks(speech, without, config, sensitivity=sensitivity).layers == alone.layers


def test_what_counts_is_the_share_that_is_lost(made: Made) -> None:
    """Losses may be counted over other positions than the energies that were probed."""
    speech, calibration, sensitivity = made
    spectra = spectra_of(speech, calibration)
    louder = {}
    for name, units in spectra.mlps.items():
        losses = {count: 7 * loss for count, loss in units.elimination.losses.items()}
        louder[name] = replace(units, elimination=replace(units.elimination, losses=losses))
    config = BudgetConfig(keep=0.6)
    plans = [
        plan_ranks(speech, one, config, sensitivity=sensitivity)
        for one in (spectra, replace(spectra, mlps=louder))
    ]
    for first, second in zip(*plans, strict=True):
        assert (first.form, first.rank) == (second.form, second.rank)


def test_calibrations_without_units_plan_without_them_and_say_so(made: Made, caplog) -> None:  # type: ignore[no-untyped-def]
    speech, calibration, _ = made
    with caplog.at_level("INFO", logger="liteasr"):
        assert spectra_of(speech, replace(calibration, hidden={})).mlps == {}
    assert caplog.text.count("calibrate again with them (--units)") == 1


def test_plans_are_kept_and_older_ones_read(made: Made, tmp_path: Path) -> None:
    speech, calibration, sensitivity = made
    spectra = spectra_of(speech, calibration)
    plan = plan_ranks(speech, spectra, BudgetConfig(keep=0.5), sensitivity=sensitivity)
    plan.save(tmp_path / "plan.json")
    assert RankPlan.load(tmp_path / "plan.json") == plan
    value = json.loads((tmp_path / "plan.json").read_text())
    assert value["version"] == 6
    older = {**value, "version": 2}
    assert RankPlan.from_dict(older).layers == plan.layers
    with pytest.raises(PlanError, match="newer than 6"):
        RankPlan.from_dict({**value, "version": 7})
