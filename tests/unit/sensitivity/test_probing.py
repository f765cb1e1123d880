from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liteasr.calibration import calibrate
from liteasr.corpus import Corpus, load_corpus
from liteasr.encoders import (
    adapter_for,
    encoder_parameters,
    pool_positions_,
    readout_metric,
    run_encoder,
)
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Spectra, break_even_rank
from liteasr.plan import BudgetConfig, Costs, ThresholdConfig, plan_ranks, spectra_of
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sensitivity.truncation import (
    truncating,
    truncating_query_key,
    truncating_value_output,
)
from liteasr.sources import SpeechModel

HALVES = ("query_key", "value_output")


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


@pytest.fixture
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)


@pytest.fixture
def spectra(tiny_speech: SpeechModel, corpus: Corpus) -> Spectra:
    return spectra_of(tiny_speech, calibrate(tiny_speech, corpus))


@pytest.fixture
def sensitivity(tiny_speech, spectra, corpus) -> Sensitivity:  # type: ignore[no-untyped-def]
    return probe(tiny_speech, spectra, corpus, windows=2)


@contextmanager
def borrowed(layer: torch.nn.Module, outputs: list[torch.Tensor]) -> Iterator[None]:
    handle = layer.register_forward_hook(lambda m, x, y: outputs.append(y))
    try:
        yield
    finally:
        handle.remove()


def weighted(sensitivity: Sensitivity, name: str, factor: float) -> Sensitivity:
    curve = tuple((energy, factor * moved) for energy, moved in sensitivity.curves[name])
    return replace(sensitivity, curves={**sensitivity.curves, name: curve})


def test_every_target_and_half_attention_has_a_rising_curve(
    tiny_speech, sensitivity: Sensitivity
) -> None:  # type: ignore[no-untyped-def]
    targets = adapter_for(tiny_speech.model).targets(tiny_speech.model.get_encoder())
    halves = {f"layers.{i}.self_attn.{half}" for i in (0, 1) for half in HALVES}
    assert set(sensitivity.curves) == {"conv2", *(target.name for target in targets)} | halves
    for curve in sensitivity.curves.values():
        assert len(curve) == 2
        assert list(curve) == sorted(curve)
        assert curve[0][1] > 0
    assert sensitivity.windows == 2


def test_probing_leaves_no_hooks_and_no_changes(tiny_speech, spectra, corpus) -> None:  # type: ignore[no-untyped-def]
    before = {name: p.clone() for name, p in tiny_speech.model.named_parameters()}
    probe(tiny_speech, spectra, corpus, windows=1)
    for name, parameter in tiny_speech.model.named_parameters():
        assert torch.equal(parameter, before[name])
    assert not any(module._forward_hooks for module in tiny_speech.model.modules())


def test_a_layer_that_nothing_reads_weighs_nothing(tiny_speech, corpus) -> None:  # type: ignore[no-untyped-def]
    """With a zero fc2, what fc1 says never reaches the output."""
    with torch.no_grad():
        tiny_speech.model.get_encoder().layers[0].fc2.weight.zero_()
    spectra = spectra_of(tiny_speech, calibrate(tiny_speech, corpus))
    found = probe(tiny_speech, spectra, corpus, windows=1)
    assert found.loss("layers.0.fc1", 1.0) == 0
    assert found.loss("layers.0.fc2", 1.0) == 0
    assert found.loss("layers.1.fc1", 1.0) > 0


@pytest.mark.parametrize("pooled", [False, True])
def test_padding_moves_for_a_quarter(tiny_speech, corpus, pooled: bool) -> None:  # type: ignore[no-untyped-def]
    name = "layers.1.fc2"
    if pooled:
        pool_positions_(tiny_speech.model, 1)
    encoder, adapter = tiny_speech.model.get_encoder(), adapter_for(tiny_speech.model)
    spectra = spectra_of(tiny_speech, calibrate(tiny_speech, corpus))
    (window,) = adapter.inputs(tiny_speech.processor, corpus.utterances[0].load())
    read = readout_metric(tiny_speech.model).T
    rank = int(0.6 * break_even_rank(256, 64))
    whole = run_encoder(encoder, window) @ read
    with truncating(encoder.get_submodule(name), spectra[name], rank):
        moved = run_encoder(encoder, window) @ read - whole
    audio = -(-window.valid_positions // 2) if pooled else window.valid_positions
    assert 0 < audio < whole.shape[1]
    weights = torch.full((whole.shape[1], 1), 0.25)
    weights[:audio] = 1
    expected = (weights * moved.square()).sum() / (weights * whole.square()).sum()
    (_, least), _ = probe(tiny_speech, spectra, corpus, windows=1).curves[name]
    assert least == pytest.approx(float(expected), rel=1e-4)


def test_truncation_drops_the_tail_of_the_spectrum(tiny_speech, corpus) -> None:  # type: ignore[no-untyped-def]
    """Over the calibration audio itself the energy dropped is Σ_{i>k} λ_i."""
    made = calibrate(tiny_speech, corpus, frames="all")
    spectra = spectra_of(tiny_speech, made, weighed=False)
    name = "layers.1.fc2"
    encoder, adapter = tiny_speech.model.get_encoder(), adapter_for(tiny_speech.model)
    layer = encoder.get_submodule(name)
    outputs: list[torch.Tensor] = []
    with (
        borrowed(layer, outputs),  # hooks run in order: this one sees the output as it was
        truncating(layer, spectra[name], 10),
        borrowed(layer, outputs),
    ):
        for utterance in corpus:
            (window,) = adapter.inputs(tiny_speech.processor, utterance.load())
            run_encoder(encoder, window)
    before, after = torch.cat(outputs[::2]).double(), torch.cat(outputs[1::2]).double()
    tail = float(spectra[name].variances[10:].sum())
    assert float((before - after).square().sum(-1).mean()) == pytest.approx(tail, rel=1e-4)


@pytest.mark.parametrize("half", HALVES)
def test_probing_an_attention_is_compressing_it(  # type: ignore[no-untyped-def]
    tiny_speech, spectra, corpus, half: str
) -> None:
    """What the hooks do to the dense model is what narrower heads do for good."""
    from liteasr.compression import compress_

    adapter, encoder = adapter_for(tiny_speech.model), tiny_speech.model.get_encoder()
    site = adapter.attentions(encoder)[1]
    (window,) = adapter.inputs(tiny_speech.processor, corpus.utterances[0].load())
    spectrum = getattr(spectra.attentions[site.name], half)
    cut = truncating_query_key if half == "query_key" else truncating_value_output
    with cut(encoder, site, spectrum, 6):
        tried = run_encoder(encoder, window)
    nothing = ThresholdConfig(attention=1.0, mlp=1.0)
    dense = plan_ranks(tiny_speech, replace(spectra, weighed=False), nothing)
    forms = {site.query: "heads_out", site.key: "heads_out"}
    if half == "value_output":
        forms = {site.value: "heads_out", site.output: "heads_in"}
    layers = tuple(
        replace(layer, form=forms[layer.name], rank=6, head_dim=16)
        if layer.name in forms
        else layer
        for layer in dense
    )
    assert sum(layer.joint for layer in layers) == 2
    compress_(tiny_speech, replace(dense, layers=layers), spectra)
    torch.testing.assert_close(run_encoder(encoder, window), tried, rtol=1e-4, atol=1e-5)


def test_attentions_are_reduced_as_a_unit_where_that_loses_less(  # type: ignore[no-untyped-def]
    tiny_speech, spectra, sensitivity: Sensitivity
) -> None:
    site = adapter_for(tiny_speech.model).attentions(tiny_speech.model.get_encoder())[0]
    free = weighted(sensitivity, f"{site.name}.query_key", 0.0)
    config = BudgetConfig(keep=0.8, multiple_of=4, head_multiple_of=2)
    plan = plan_ranks(tiny_speech, spectra, config, sensitivity=free)
    assert plan[site.query].form == plan[site.key].form == "heads_out"
    assert plan[site.query].rank == plan[site.key].rank == 2
    alone = replace(config, joint=False)
    chains = plan_ranks(tiny_speech, spectra, alone, sensitivity=free)
    assert not any(layer.joint for layer in chains)


@pytest.mark.parametrize("unit", ["parameters", "flops"])
def test_what_a_plan_costs_is_within_the_budget(  # type: ignore[no-untyped-def]
    tiny_speech, spectra, sensitivity: Sensitivity, unit
) -> None:
    config = BudgetConfig(keep=0.7, unit=unit, multiple_of=4, head_multiple_of=2)
    plan = plan_ranks(tiny_speech, spectra, config, sensitivity=sensitivity)
    left = Costs(unit=unit, model=tiny_speech.model).of(plan)
    dense = Costs(unit=unit, model=tiny_speech.model).dense
    assert 0.65 * dense < left <= 0.7 * dense


def test_bad_input_is_refused(tiny_speech, spectra, corpus) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="at least 1, got 0"):
        probe(tiny_speech, spectra, corpus, windows=0)
    with torch.no_grad():
        tiny_speech.model.get_encoder().layers[0].fc1.bias[0] = float("nan")
    with pytest.raises(CalibrationError, match="NaN or Inf"):
        probe(tiny_speech, spectra, corpus, windows=1)


def test_file_round_trip(sensitivity: Sensitivity, tmp_path: Path) -> None:
    sensitivity.save(tmp_path / "s.json")
    assert Sensitivity.load(tmp_path / "s.json") == sensitivity


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 99}', '{"version": "x"}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(CalibrationError, match=r"s\.json"):
        Sensitivity.load(tmp_path / "s.json")
    with pytest.raises(CalibrationError, match="cannot read"):
        Sensitivity.load(tmp_path / "none.json")


@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("keep", [0.9, 0.75, 0.6])
def test_budgets_are_met_within_one_step(  # type: ignore[no-untyped-def]
    make_speech, spectra, sensitivity: Sensitivity, keep: float, units: bool
) -> None:
    from liteasr.compression import compress_

    speech = make_speech()
    config = BudgetConfig(keep=keep, multiple_of=2, units=units)
    plan = plan_ranks(speech, spectra, config, sensitivity=sensitivity)
    report = compress_(speech, plan, spectra)
    assert plan.rule == "budget"
    assert report.kept <= keep
    # two ranks of an MLP's chain, or 64 hidden units; and a bias
    largest_step = 64 * (2 * 64 + 1) if units else 2 * (64 + 256) + 64
    spare = keep * report.parameters_before - report.parameters_after
    assert 0 <= spare < largest_step


def test_keeping_everything_keeps_every_layer(tiny_speech, spectra, sensitivity) -> None:  # type: ignore[no-untyped-def]
    plan = plan_ranks(tiny_speech, spectra, BudgetConfig(keep=1.0), sensitivity=sensitivity)
    assert {layer.form for layer in plan} == {"dense"}


def test_layers_that_matter_more_get_more(tiny_speech, spectra, sensitivity) -> None:  # type: ignore[no-untyped-def]
    name = "layers.0.fc1"
    loud, meek = (weighted(sensitivity, name, factor) for factor in (1e6, 0.0))
    config = BudgetConfig(keep=0.7, multiple_of=4)
    plans = [plan_ranks(tiny_speech, spectra, config, sensitivity=s) for s in (loud, meek)]
    assert plans[0][name].parameters > plans[1][name].parameters


def test_impossible_budgets_name_the_least(tiny_speech, spectra, sensitivity) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        PlanError, match=r"keep=0.1 asks for 0.01 M parameters; the smallest ranks leave 0"
    ):
        plan_ranks(tiny_speech, spectra, BudgetConfig(keep=0.1), sensitivity=sensitivity)
    assert encoder_parameters(tiny_speech.model) > 0


def test_losses_join_the_probed_points(sensitivity: Sensitivity) -> None:
    made = replace(sensitivity, curves={"x": ((1.0, 2.0), (4.0, 32.0))})
    assert made.loss("x", 0.0) == 0.0
    assert made.loss("x", 0.5) == pytest.approx(1.0), "proportional below"
    assert made.loss("x", 1.0) == pytest.approx(2.0)
    assert made.loss("x", 2.0) == pytest.approx(8.0), "a line in logarithms between"
    assert made.loss("x", 8.0) == pytest.approx(64.0), "proportional above"


def test_budgets_need_sensitivities_of_this_encoder(  # type: ignore[no-untyped-def]
    tiny_speech, make_speech, spectra, sensitivity: Sensitivity
) -> None:
    with pytest.raises(PlanError, match=r"probe\(...\)"):
        plan_ranks(tiny_speech, spectra, BudgetConfig(keep=0.7))
    with pytest.raises(CalibrationError, match="probe this model"):
        plan_ranks(make_speech(seed=4), spectra, BudgetConfig(keep=0.7), sensitivity=sensitivity)
    plain = replace(spectra, weighed=False)
    assert plan_ranks(tiny_speech, plain, ThresholdConfig()).rule == "threshold"


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.01])
def test_shares_outside_the_unit_interval_are_refused(keep: float) -> None:
    with pytest.raises(ValueError, match="keep"):
        BudgetConfig(keep=keep)
    with pytest.raises(ValueError, match="multiple_of"):
        BudgetConfig(keep=0.5, multiple_of=0)
