from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liteasr.calibration import calibrate
from liteasr.corpus import Corpus, load_corpus
from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Spectrum
from liteasr.plan import BudgetConfig, ThresholdConfig, plan_ranks, spectra_of
from liteasr.sensitivity import Sensitivity, probe
from liteasr.sensitivity.probing import truncating
from liteasr.sources import SpeechModel


@pytest.fixture
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)


@pytest.fixture
def spectra(tiny_speech: SpeechModel, corpus: Corpus) -> dict[str, Spectrum]:
    return spectra_of(tiny_speech, calibrate(tiny_speech, corpus))


@pytest.fixture
def sensitivity(tiny_speech, spectra, corpus) -> Sensitivity:  # type: ignore[no-untyped-def]
    return probe(tiny_speech, spectra, corpus, windows=2)


def test_every_target_has_a_positive_weight(tiny_speech, sensitivity: Sensitivity) -> None:  # type: ignore[no-untyped-def]
    targets = adapter_for(tiny_speech.model).targets(tiny_speech.model.get_encoder())
    assert set(sensitivity.weights) == {target.name for target in targets}
    assert all(weight > 0 for weight in sensitivity.weights.values())
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
    weights = probe(tiny_speech, spectra, corpus, windows=1).weights
    assert weights["layers.0.fc1"] == 0
    assert weights["layers.0.fc2"] == 0
    assert weights["layers.1.fc1"] > 0


def test_truncation_loses_the_tail_of_the_spectrum(tiny_speech, spectra, corpus) -> None:  # type: ignore[no-untyped-def]
    """Over the calibration audio itself the energy lost is Σ_{i>k} λ_i."""
    name = "layers.1.fc2"
    encoder, adapter = tiny_speech.model.get_encoder(), adapter_for(tiny_speech.model)
    with truncating(encoder.get_submodule(name), spectra[name], 10) as energies:
        for utterance in corpus:
            (window,) = adapter.inputs(tiny_speech.processor, utterance.load())
            encoder(**window.tensors)
    tail = float(spectra[name].variances[10:].sum())
    assert sum(energies) / len(energies) == pytest.approx(tail, rel=1e-4)


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


@pytest.mark.parametrize("keep", [0.9, 0.75, 0.6])
def test_budgets_are_met_within_one_step(  # type: ignore[no-untyped-def]
    make_speech, spectra, sensitivity: Sensitivity, keep: float
) -> None:
    from liteasr.compression import compress_

    speech = make_speech()
    config = BudgetConfig(keep=keep, multiple_of=2)
    plan = plan_ranks(speech, spectra, config, sensitivity=sensitivity)
    report = compress_(speech, plan, spectra)
    assert plan.rule == "budget"
    assert report.kept <= keep
    largest_step = 2 * (64 + 256) + 64
    spare = keep * report.parameters_before - report.parameters_after
    assert 0 <= spare < largest_step


def test_keeping_everything_keeps_every_layer(tiny_speech, spectra, sensitivity) -> None:  # type: ignore[no-untyped-def]
    plan = plan_ranks(tiny_speech, spectra, BudgetConfig(keep=1.0), sensitivity=sensitivity)
    assert {layer.form for layer in plan} == {"dense"}


def test_layers_that_matter_more_get_more(tiny_speech, spectra, sensitivity) -> None:  # type: ignore[no-untyped-def]
    name = "layers.0.fc1"
    loud = replace(sensitivity, weights={**sensitivity.weights, name: 1e6})
    meek = replace(sensitivity, weights={**sensitivity.weights, name: 0.0})
    config = BudgetConfig(keep=0.7, multiple_of=4)
    plans = [plan_ranks(tiny_speech, spectra, config, sensitivity=s) for s in (loud, meek)]
    assert plans[0][name].parameters > plans[1][name].parameters


def test_impossible_budgets_name_the_least(tiny_speech, spectra, sensitivity) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanError, match=r"keep=0.1 asks for .* rank 16 everywhere leaves"):
        plan_ranks(tiny_speech, spectra, BudgetConfig(keep=0.1), sensitivity=sensitivity)
    assert encoder_parameters(tiny_speech.model) > 0


def test_budgets_need_sensitivities_of_this_encoder(  # type: ignore[no-untyped-def]
    tiny_speech, make_speech, spectra, sensitivity: Sensitivity
) -> None:
    with pytest.raises(PlanError, match=r"probe\(...\)"):
        plan_ranks(tiny_speech, spectra, BudgetConfig(keep=0.7))
    with pytest.raises(CalibrationError, match="probe this model"):
        plan_ranks(make_speech(seed=4), spectra, BudgetConfig(keep=0.7), sensitivity=sensitivity)
    assert plan_ranks(tiny_speech, spectra, ThresholdConfig()).rule == "threshold"


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.01])
def test_shares_outside_the_unit_interval_are_refused(keep: float) -> None:
    with pytest.raises(ValueError, match="keep"):
        BudgetConfig(keep=keep)
    with pytest.raises(ValueError, match="multiple_of"):
        BudgetConfig(keep=0.5, multiple_of=0)
