import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from liteasr import artefacts
from liteasr.artefacts import find_latency, latency_file
from liteasr.calibration import calibrate
from liteasr.corpus import load_corpus
from liteasr.encoders import adapter_for
from liteasr.errors import PlanError
from liteasr.lowrank import Spectra
from liteasr.plan import (
    BudgetConfig,
    Latencies,
    LatencyTable,
    ThresholdConfig,
    latency_setting,
    measure_latency,
    plan_ranks,
    rule_from,
    spectra_of,
)
from liteasr.plan.stopwatch import medians_ms
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sources import SpeechModel
from tiny_latency import made_up

REDUCED = ("chain", "heads", "units")


@pytest.fixture
def table(tiny_speech: SpeechModel) -> LatencyTable:
    return measure_latency(tiny_speech, stopwatch=made_up)


@pytest.fixture
def evidence(tiny_speech: SpeechModel, recordings: Path) -> tuple[Spectra, Sensitivity]:
    corpus = load_corpus(recordings)
    spectra = spectra_of(tiny_speech, calibrate(tiny_speech, corpus))
    return spectra, probe(tiny_speech, spectra, corpus, windows=1)


def ticking(step_s: float) -> Callable[[], float]:
    times: Iterator[float] = (step_s * k for k in range(10**6))
    return lambda: next(times)


def test_every_form_of_every_shape_is_measured_once(table: LatencyTable) -> None:
    heads = "64 -> 64 by 16"
    shapes = ("64 -> 64", "64 -> 256", "256 -> 64")
    expected = {"encoder", "products 4 x 16", "scores 4 x 16", "values 4 x 16"}
    expected |= {f"{form} {shape}" for form in ("dense", "chain") for shape in shapes}
    expected |= {"units_out 64 -> 256", "units_in 256 -> 64"}
    assert set(table.curves) == expected | {f"heads_out {heads}", f"heads_in {heads}"}
    for points in table.curves.values():
        assert list(points) == sorted(points)
    assert table.encoder_ms == 400.0


def test_the_real_modules_run_and_nothing_else_changes(tiny_speech: SpeechModel) -> None:
    shapes = {}

    def one_call(actions, track):  # type: ignore[no-untyped-def]
        shapes.update({part: tuple(action().shape) for part, action in actions.items()})
        return dict.fromkeys(actions, 1.0)

    before = torch.random.get_rng_state()
    measure_latency(tiny_speech, stopwatch=one_call)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert shapes["dense 64 -> 256", 0] == (1, 1500, 256)
    assert shapes["chain 256 -> 64", 48] == (1, 1500, 64)
    assert shapes["heads_out 64 -> 64 by 16", 4] == (1, 1500, 16)
    assert shapes["units_out 64 -> 256", 128] == (1, 1500, 128)
    assert shapes["units_in 256 -> 64", 128] == (1, 1500, 64)
    assert shapes["scores 4 x 16", 4] == (1, 1500, 64), "values keep their width"
    assert shapes["values 4 x 16", 4] == (1, 1500, 16)


def test_the_stopwatch_gives_medians_without_the_first_call() -> None:
    calls: list[int] = []

    def action() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(1)

    found = medians_ms({("slow", 0): action}, repeats=3, clock=ticking(0.02))
    assert found == {("slow", 0): pytest.approx(20.0)}
    assert len(calls) == 2 + 3
    calls.clear()
    found = medians_ms({("fast", 0): action}, repeats=3, clock=ticking(0.001))
    assert found == {("fast", 0): pytest.approx(0.2)}
    assert len(calls) == 2 + 3 * 5, "short calls are read together"


def test_times_between_measured_ranks_never_fall(table: LatencyTable) -> None:
    rng = np.random.default_rng(0)
    noisy = tuple((float(rank), float(rng.uniform(1, 9))) for rank in (16, 32, 64, 128, 256))
    made = replace(table, curves={"x": noisy})
    times = [made.ms("x", rank) for rank in range(300)]
    assert times == sorted(times)
    assert all(made.ms("x", int(rank)) >= ms for rank, ms in noisy)
    line = replace(table, curves={"x": ((16.0, 2.0), (32.0, 4.0))})
    assert [line.ms("x", rank) for rank in (8, 16, 24, 32, 40)] == [2.0, 2.0, 3.0, 4.0, 4.0]
    with pytest.raises(PlanError, match="nothing about y"):
        line.ms("y")


def test_parts_and_the_rest_add_up_to_the_encoder(
    tiny_speech: SpeechModel, table: LatencyTable
) -> None:
    prices = Latencies(model=tiny_speech.model, table=table)
    assert (prices.dense, prices.fixed) == (400.0, 400.0 - 12 * 10.0 - 2 * 40.0)
    site = adapter_for(tiny_speech.model).attentions(tiny_speech.model.get_encoder())[0]
    assert prices.products(site, 16, 16) == 40.0
    assert prices.products(site, 8, 16) == 40.0 + (28.0 - 40.0)
    assert prices.products(site, 8, 4) == 40.0 + (28.0 - 40.0) + (22.0 - 40.0)
    short = replace(table, curves={**table.curves, "encoder": ((0.0, 100.0),)})
    prices = Latencies(model=tiny_speech.model, table=short)
    assert (prices.dense, prices.fixed) == (200.0, 0.0), "never below the sum of the parts"


def test_a_speed_up_is_met_and_promised(tiny_speech, table, evidence, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    spectra, sensitivity = evidence
    rule = replace(rule_from(speedup=1.25), multiple_of=4, head_multiple_of=2)
    plan = plan_ranks(tiny_speech, spectra, rule, sensitivity=sensitivity, latency=table)
    promise = plan.options["latency"]
    assert promise["dense_ms"] == 400.0
    assert 300.0 < promise["expected_ms"] <= 320.0
    prices = Latencies(model=tiny_speech.model, table=table)
    assert prices.of(plan) == pytest.approx(promise["expected_ms"], abs=1e-3)
    assert {layer.form for layer in plan} > {"dense"}
    plan.save(tmp_path / "plan.json")
    assert type(plan).load(tmp_path / "plan.json") == plan


def test_chains_slower_than_the_dense_layer_are_never_chosen(  # type: ignore[no-untyped-def]
    tiny_speech, table, evidence
) -> None:
    spectra, sensitivity = evidence
    slow = {key: ((1.0, 50.0),) for key in table.curves if key.startswith(REDUCED)}
    made = replace(table, curves={**table.curves, **slow})
    plan = plan_ranks(
        tiny_speech, spectra, rule_from(speedup=1.0), sensitivity=sensitivity, latency=made
    )
    assert {layer.form for layer in plan} == {"dense"}
    with pytest.raises(PlanError, match=r"the largest speed-up is 1$"):
        plan_ranks(
            tiny_speech, spectra, rule_from(speedup=1.1), sensitivity=sensitivity, latency=made
        )
    only_fc2 = {**table.curves, **slow, "chain 256 -> 64": ((1.0, 2.0),)}
    plan = plan_ranks(
        tiny_speech,
        spectra,
        rule_from(speedup=1.01),
        sensitivity=sensitivity,
        latency=replace(made, curves=only_fc2),
    )
    assert {layer.name.split(".")[-1] for layer in plan if layer.form == "chain"} == {"fc2"}


def test_fewer_units_are_chosen_where_they_are_faster(tiny_speech, table, evidence) -> None:  # type: ignore[no-untyped-def]
    spectra, sensitivity = evidence
    slow = {key: ((1.0, 50.0),) for key in table.curves if key.startswith(REDUCED)}
    fast = {key: ((64.0, 1.0), (256.0, 9.0)) for key in slow if key.startswith("units")}
    made = replace(table, curves={**table.curves, **slow, **fast})
    rule = rule_from(speedup=1.05)
    plan = plan_ranks(tiny_speech, spectra, rule, sensitivity=sensitivity, latency=made)
    assert {layer.form for layer in plan} == {"dense", "units_out", "units_in"}
    assert plan.options["latency"]["expected_ms"] <= 400 / 1.05
    older = {key: curve for key, curve in made.curves.items() if not key.startswith("units")}
    with pytest.raises(PlanError, match="nothing about units_out 64 -> 256: measure them again"):
        plan_ranks(
            tiny_speech,
            spectra,
            rule,
            sensitivity=sensitivity,
            latency=replace(made, curves=older),
        )


def test_what_cannot_be_planned_says_what_can(  # type: ignore[no-untyped-def]
    tiny_speech, make_speech, table, evidence
) -> None:
    spectra, sensitivity = evidence
    rule = rule_from(speedup=3)
    with pytest.raises(
        PlanError, match=r"speed-up of 3 asks for 133 ms .* the largest speed-up is 1\.\d"
    ):
        plan_ranks(tiny_speech, spectra, rule, sensitivity=sensitivity, latency=table)
    with pytest.raises(PlanError, match=r"pass latency=measure_latency"):
        plan_ranks(tiny_speech, spectra, rule, sensitivity=sensitivity)
    other = measure_latency(make_speech(width=32), stopwatch=made_up)
    with pytest.raises(PlanError, match="other shapes: measure this model"):
        plan_ranks(tiny_speech, spectra, rule, sensitivity=sensitivity, latency=other)
    plain = replace(spectra, weighed=False)
    plan = plan_ranks(tiny_speech, plain, ThresholdConfig(), latency=table)
    assert "latency" not in plan.options


def test_a_speed_up_is_a_budget_of_its_inverse() -> None:
    assert rule_from(speedup=2.0) == BudgetConfig(keep=0.5, unit="latency")
    for speedup in (0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="speedup must be"):
            rule_from(speedup=speedup)
    with pytest.raises(ValueError, match="not flops and speedup"):
        rule_from(flops=0.5, speedup=2.0)
    with pytest.raises(ValueError, match="parameters, flops, latency, got 'joules'"):
        BudgetConfig(keep=0.5, unit="joules")  # type: ignore[arg-type]


def test_file_round_trip(table: LatencyTable, tmp_path: Path) -> None:
    table.save(tmp_path / "t.json")
    assert LatencyTable.load(tmp_path / "t.json") == table


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 99}', '{"version": 1}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(PlanError, match=r"t\.json does not hold latencies .* delete it"):
        LatencyTable.load(tmp_path / "t.json")
    with pytest.raises(PlanError, match="cannot read"):
        LatencyTable.load(tmp_path / "none.json")


def test_tables_are_kept_and_measured_anew_elsewhere(
    tiny_speech: SpeechModel,
    table: LatencyTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    measured = []

    def measure(speech, *, track):  # type: ignore[no-untyped-def]
        measured.append(speech.name)
        return table

    monkeypatch.setattr(artefacts, "measure_latency", measure)
    moments = tmp_path / "m.safetensors"
    assert find_latency(tiny_speech, moments) == table
    assert find_latency(tiny_speech, moments) == table
    assert measured == ["tiny"]
    replace(table, setting=replace(table.setting, threads=99)).save(latency_file(moments))
    with caplog.at_level(logging.INFO, logger="liteasr"):
        assert find_latency(tiny_speech, moments) == table
    assert "threads 99, here" in caplog.text
    assert len(measured) == 2
    assert LatencyTable.load(latency_file(moments)) == table
    assert find_latency(tiny_speech, None) == table


def test_the_setting_is_of_shapes_and_not_of_weights(make_speech) -> None:  # type: ignore[no-untyped-def]
    setting = latency_setting(make_speech(seed=1).model)
    assert setting == latency_setting(make_speech(seed=2).model)
    assert "shapes" in setting.differences(latency_setting(make_speech(blocks=1).model))
    half = make_speech().model.to(torch.bfloat16)
    assert setting.differences(latency_setting(half)) == "dtype float32, here bfloat16"
