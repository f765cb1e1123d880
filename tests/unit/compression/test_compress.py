from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from liteasr.calibration import Calibration, FrameChoice, calibrate
from liteasr.compression import compress_
from liteasr.corpus import load_corpus
from liteasr.encoders import adapter_for, encoder_parameters, require_dense
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import hidden_units
from liteasr.nn import LowRankLinear, LowRankSelfAttention
from liteasr.plan import LayerPlan, RankPlan, ThresholdConfig, plan_ranks, spectra_of
from liteasr.sources import SpeechModel


@pytest.fixture
def calibration(tiny_speech: SpeechModel, recordings: Path) -> Calibration:
    return calibrate(tiny_speech, load_corpus(recordings), frames="all")


def encode(speech: SpeechModel, babble) -> torch.Tensor:  # type: ignore[no-untyped-def]
    (window,) = adapter_for(speech.model).inputs(speech.processor, babble(9, 3.0))
    with torch.inference_mode():
        output: torch.Tensor = speech.model.get_encoder()(**window.tensors).last_hidden_state
    return output


def every_layer_at(speech: SpeechModel, rank: int) -> RankPlan:
    targets = adapter_for(speech.model).targets(speech.model.get_encoder())
    layers = tuple(
        LayerPlan(
            name=target.name,
            form="chain",
            rank=rank,
            in_features=target.in_features,
            out_features=target.out_features,
            reason="test",
        )
        for target in targets
    )
    return RankPlan(model=speech.name, rule="test", layers=layers)


@pytest.mark.parametrize("frames", ["all", "speech"])
def test_spectra_agree_with_an_svd_of_stored_activations(
    tiny_speech: SpeechModel, recordings: Path, frames: FrameChoice
) -> None:
    """The reference keeps every activation and takes its SVD; we stream moments."""
    corpus = load_corpus(recordings)
    made = calibrate(tiny_speech, corpus, frames=frames)
    spectra = spectra_of(tiny_speech, made, weighed=False)
    adapter, encoder = adapter_for(tiny_speech.model), tiny_speech.model.get_encoder()
    for target in adapter.targets(encoder):
        stored = []
        handle = encoder.get_submodule(target.name).register_forward_hook(
            lambda m, x, y, stored=stored: stored.append(y[0])
        )
        for utterance in corpus:
            (window,) = adapter.inputs(tiny_speech.processor, utterance.load())
            with torch.inference_mode():
                encoder(**window.tensors)
            if frames == "speech":
                stored[-1] = stored[-1][: window.valid_positions]
        handle.remove()
        outputs = torch.cat(stored).double()
        variances = torch.linalg.svdvals(outputs - outputs.mean(0)).square() / len(outputs)
        found = spectra[target.name].variances
        n = min(len(found), len(variances))
        assert (found[:n] - variances[:n]).abs().max() / variances[0] < 1e-6  # float32 outputs


def test_error_falls_as_rank_grows(  # type: ignore[no-untyped-def]
    make_speech, calibration: Calibration, babble
) -> None:
    dense = encode(make_speech(), babble)
    errors = []
    for rank in (8, 16, 24, 32):
        speech = make_speech()
        compress_(speech, every_layer_at(speech, rank), spectra_of(speech, calibration))
        errors.append(float((encode(speech, babble) - dense).square().mean()))
    assert errors == sorted(errors, reverse=True)


def by_head(speech: SpeechModel, scores: int, values: int) -> RankPlan:
    """Every attention reduced jointly, every MLP dense."""
    encoder = speech.model.get_encoder()
    widths = {"q_proj": scores, "k_proj": scores, "v_proj": values, "out_proj": values}
    layers = []
    for target in adapter_for(speech.model).targets(encoder):
        role = target.name.rpartition(".")[2]
        joint = role in widths
        form = "dense" if not joint else "heads_in" if role == "out_proj" else "heads_out"
        layers.append(
            LayerPlan(
                name=target.name,
                form=form,  # type: ignore[arg-type]
                rank=widths.get(role),
                in_features=target.in_features,
                out_features=target.out_features,
                head_dim=16 if joint else None,
            )
        )
    return RankPlan(model=speech.name, rule="test", layers=tuple(layers))


def test_heads_of_full_width_change_nothing(  # type: ignore[no-untyped-def]
    make_speech, calibration: Calibration, babble
) -> None:
    speech = make_speech()
    compress_(speech, by_head(speech, 16, 16), spectra_of(speech, calibration))
    torch.testing.assert_close(encode(speech, babble), encode(make_speech(), babble))


@pytest.mark.parametrize("which", ["scores", "values"])
def test_narrower_heads_move_the_output_more(make_speech, calibration, babble, which) -> None:  # type: ignore[no-untyped-def]
    dense = encode(make_speech(), babble)
    errors = []
    for width in (4, 8, 12):
        speech = make_speech()
        plan = by_head(speech, **{"scores": 16, "values": 16, which: width})
        report = compress_(speech, plan, spectra_of(speech, calibration))
        errors.append(float((encode(speech, babble) - dense).square().mean()))
        biases = 2 * (4 * plan["layers.0.self_attn.k_proj"].rank)  # type: ignore[operator]
        biases -= 2 * (64 - 4 * plan["layers.0.self_attn.q_proj"].rank)  # type: ignore[operator]
        biases -= 2 * (64 - 4 * plan["layers.0.self_attn.v_proj"].rank)  # type: ignore[operator]
        saved = plan.dense_parameters - plan.parameters
        assert report.parameters_before - report.parameters_after == saved - biases
        assert isinstance(
            speech.model.get_encoder().get_submodule("layers.0.self_attn"), LowRankSelfAttention
        )
    assert errors == sorted(errors, reverse=True)


def test_partners_must_be_reduced_together(tiny_speech, calibration) -> None:  # type: ignore[no-untyped-def]
    spectra, plan = spectra_of(tiny_speech, calibration), by_head(tiny_speech, 8, 8)
    name = "layers.0.self_attn.k_proj"
    for changes in ({"rank": 4}, {"head_dim": 8}, {"form": "chain", "head_dim": None}):
        layers = tuple(replace(x, **changes) if x.name == name else x for x in plan)
        with pytest.raises(PlanError, match=r"q_proj and .*k_proj are reduced together"):
            compress_(tiny_speech, replace(plan, layers=layers), spectra)
    fc1 = replace(plan["layers.0.fc1"], form="heads_out", rank=4, head_dim=16)
    layers = tuple(fc1 if x.name == fc1.name else x for x in plan)
    with pytest.raises(PlanError, match=r"fc1 cannot be reduced by head"):
        compress_(tiny_speech, replace(plan, layers=layers), spectra)


def by_unit(speech: SpeechModel, units: int) -> RankPlan:
    """Every MLP with fewer units, all else dense."""
    forms = {"fc1": "units_out", "fc2": "units_in"}
    layers = []
    for target in adapter_for(speech.model).targets(speech.model.get_encoder()):
        form = forms.get(target.name.rpartition(".")[2], "dense")
        layers.append(LayerPlan.of(target, form, units if form != "dense" else None))  # type: ignore[arg-type]
    return RankPlan(model=speech.name, rule="test", layers=tuple(layers))


def test_fewer_units_move_the_output_more_and_all_of_them_not_at_all(  # type: ignore[no-untyped-def]
    make_speech, calibration: Calibration, babble
) -> None:
    dense, spectra = encode(make_speech(), babble), spectra_of(make_speech(), calibration)
    errors = []
    for units in (3, 64, 150, 256):
        speech = make_speech()
        report = compress_(speech, by_unit(speech, units), spectra)
        errors.append(float((encode(speech, babble) - dense).square().mean()))
        assert report.parameters_before - report.parameters_after == 2 * (256 - units) * 129
        encoder = speech.model.get_encoder()
        assert type(encoder.layers[0].fc1) is type(encoder.layers[1].fc2) is nn.Linear
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-10


def test_what_is_left_may_be_chains_which_lose_nothing_at_full_rank(  # type: ignore[no-untyped-def]
    make_speech, calibration: Calibration, babble
) -> None:
    spectra, plan = spectra_of(make_speech(), calibration), by_unit(make_speech(), 96)
    plain = make_speech()
    compress_(plain, plan, spectra)
    expected, errors = encode(plain, babble), []
    for inner in (4, 24, 48, 64):
        layers = [replace(layer, inner=inner) if layer.by_unit else layer for layer in plan]
        speech = make_speech()
        compress_(speech, replace(plan, layers=tuple(layers)), spectra)
        errors.append(float((encode(speech, babble) - expected).square().mean()))
        block = speech.model.get_encoder().layers[1]
        assert type(block.fc1) is type(block.fc2) is LowRankLinear
        assert block.fc1.down.weight.shape == (inner, 64)
        assert block.fc2.down.weight.shape == (inner, 96)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8 * errors[0]


def test_copied_units_are_found_and_removed_for_nothing(  # type: ignore[no-untyped-def]
    make_speech, recordings: Path, babble, monkeypatch
) -> None:
    monkeypatch.setattr(hidden_units, "RIDGES", (1e-9,))

    def doubled() -> SpeechModel:
        speech = make_speech()
        for layer in speech.model.get_encoder().layers:
            for parameter in (layer.fc1.weight, layer.fc1.bias):
                parameter.data[128:] = parameter.data[:128].flip(0)
        return speech

    speech, dense = doubled(), encode(doubled(), babble)
    spectra = spectra_of(speech, calibrate(speech, load_corpus(recordings)))
    for units in spectra.mlps.values():
        assert units.elimination.losses[128] < 1e-6 * units.elimination.losses[64]
    compress_(speech, by_unit(speech, 128), spectra)
    torch.testing.assert_close(encode(speech, babble), dense, rtol=1e-3, atol=1e-3)
    with pytest.raises(PlanError, match=r"layers\.0\.fc1 has 128 of 256 units.*original model"):
        require_dense(speech.model, "doubled")


def test_both_layers_of_an_mlp_lose_the_same_units(tiny_speech, calibration) -> None:  # type: ignore[no-untyped-def]
    spectra, plan = spectra_of(tiny_speech, calibration), by_unit(tiny_speech, 64)
    for name, changes in (
        ("layers.0.fc2", {"rank": 32}),
        ("layers.1.fc1", {"form": "chain"}),
        ("layers.1.fc2", {"form": "dense", "rank": None}),
        ("layers.0.fc1", {"form": "units_in"}),
    ):
        layers = tuple(replace(x, **changes) if x.name == name else x for x in plan)
        with pytest.raises(PlanError, match=r"fc1 and .*fc2 lose units together: give them"):
            compress_(tiny_speech, replace(plan, layers=layers), spectra)
    stray = replace(plan["layers.0.self_attn.q_proj"], form="units_out", rank=8)
    layers = tuple(stray if x.name == stray.name else x for x in plan)
    with pytest.raises(PlanError, match=r"q_proj cannot lose units: use the form 'chain'"):
        compress_(tiny_speech, replace(plan, layers=layers), spectra)
    before = encoder_parameters(tiny_speech.model)
    without = spectra_of(tiny_speech, replace(calibration, hidden={}))
    with pytest.raises(PlanError, match=r"nothing about the units between layers\.0\.fc1 and"):
        compress_(tiny_speech, plan, without)
    assert encoder_parameters(tiny_speech.model) == before


def test_layers_that_the_plan_forgets_are_named(tiny_speech, calibration) -> None:  # type: ignore[no-untyped-def]
    plan = every_layer_at(tiny_speech, 8)
    short = replace(plan, layers=plan.layers[:-2])
    with pytest.raises(PlanError, match=r"nothing about layers\.1\.fc1, layers\.1\.fc2: give"):
        compress_(tiny_speech, short, spectra_of(tiny_speech, calibration))


def test_report_counts_what_is_left(tiny_speech: SpeechModel, calibration: Calibration) -> None:
    before = encoder_parameters(tiny_speech.model)
    plan = every_layer_at(tiny_speech, 16)
    report = compress_(tiny_speech, plan, spectra_of(tiny_speech, calibration))
    assert report.parameters_before == before
    assert report.parameters_after == encoder_parameters(tiny_speech.model)
    saved = plan.dense_parameters - plan.parameters
    k_biases = 2 * 64  # k_proj had none
    assert before - report.parameters_after == saved - k_biases
    assert (report.replaced, report.dense) == (12, 0)
    assert 0 < report.kept < 1


def test_dense_layers_are_left_alone(tiny_speech: SpeechModel, calibration: Calibration) -> None:
    spectra = spectra_of(tiny_speech, calibration, weighed=False)
    plan = plan_ranks(tiny_speech, spectra, ThresholdConfig(attention=0.9, mlp=1.0))
    report = compress_(tiny_speech, plan, spectra)
    assert 0 < report.replaced <= 8
    for layer in plan:
        module = tiny_speech.model.get_encoder().get_submodule(layer.name)
        assert isinstance(module, LowRankLinear) == (layer.form == "chain")
        if isinstance(module, LowRankLinear):
            assert module.rank == layer.rank
            assert not module.training


def test_a_plan_for_other_shapes_changes_nothing(
    tiny_speech: SpeechModel, calibration: Calibration
) -> None:
    spectra = spectra_of(tiny_speech, calibration)
    good = every_layer_at(tiny_speech, 16)
    before = {name: p.clone() for name, p in tiny_speech.model.named_parameters()}
    wrong_shape = replace(good.layers[-1], in_features=128)
    wrong_name = replace(good.layers[-1], name="layers.7.fc2")
    for layer, message in ((wrong_shape, "the plan says 128"), (wrong_name, r"layers\.7\.fc2")):
        plan = replace(good, layers=(*good.layers[:-1], layer))
        with pytest.raises(PlanError, match=message):
            compress_(tiny_speech, plan, spectra)
    assert {name for name, _ in tiny_speech.model.named_parameters()} == set(before)


def test_a_rank_without_components_is_refused_by_name(
    tiny_speech: SpeechModel, calibration: Calibration
) -> None:
    plan = every_layer_at(tiny_speech, 16)
    greedy = replace(plan, layers=(replace(plan.layers[0], rank=60), *plan.layers[1:]))
    spectra = spectra_of(tiny_speech, calibration)
    few = {name: spectra[name].truncated(32) for name in spectra}
    with pytest.raises(PlanError, match=r"q_proj cannot have rank 60: .* between 1 and 32"):
        compress_(tiny_speech, greedy, replace(spectra, layers=few))


def test_a_compressed_model_is_not_compressed_again(
    tiny_speech: SpeechModel, calibration: Calibration
) -> None:
    spectra = spectra_of(tiny_speech, calibration)
    plan = every_layer_at(tiny_speech, 16)
    compress_(tiny_speech, plan, spectra)
    with pytest.raises(PlanError, match="LowRankLinear, not a dense layer"):
        compress_(tiny_speech, plan, spectra)
    with pytest.raises(PlanError, match="name the original"):
        spectra_of(tiny_speech, calibration)


def test_moments_of_another_encoder_are_refused(make_speech, calibration: Calibration) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CalibrationError, match="calibrate this model"):
        spectra_of(make_speech(seed=3), calibration)


def test_incomplete_moments_are_refused(tiny_speech: SpeechModel, calibration: Calibration) -> None:
    half = replace(calibration, provenance=replace(calibration.provenance, utterances=3))
    with pytest.raises(CalibrationError, match="3 of 6"):
        spectra_of(tiny_speech, half)
