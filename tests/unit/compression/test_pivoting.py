"""Laws of pivots in whole encoders: fewer parameters, the same output, exactly reversible."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from liteasr.calibration import calibrate
from liteasr.checkpoint import CompressedModel, load
from liteasr.compression import compress_
from liteasr.corpus import load_corpus
from liteasr.encoders import (
    adapter_for,
    encoder_parameters,
    pack_encoder,
    require_dense,
    run_encoder,
)
from liteasr.errors import CheckpointError, PlanError
from liteasr.export import export_encoder
from liteasr.nn import LowRankLinear, pivots_of
from liteasr.pivoting import unpivoted_
from liteasr.plan import BudgetConfig, Costs, LayerPlan, RankPlan, plan_ranks, spectra_of
from liteasr.refinement import RefinementConfig, refine_
from liteasr.sensitivity import probe
from liteasr.sources import SpeechModel
from tiny_families import FAMILIES
from tiny_forms import pivoted
from tiny_whisper import tiny_whisper

SMALL = {"multiple_of": 4, "head_multiple_of": 2}


@pytest.fixture(scope="module")
def plans(recordings: Path) -> Callable[..., RankPlan]:
    speech = tiny_whisper(blocks=2)
    corpus = load_corpus(recordings)
    spectra = spectra_of(speech, calibrate(speech, corpus))
    sensitivity = probe(speech, spectra, corpus, windows=1)

    def plan(**values: object) -> RankPlan:
        config = BudgetConfig(**{**SMALL, **values})  # type: ignore[arg-type]
        return plan_ranks(speech, spectra, config, sensitivity=sensitivity)

    plan.spectra = spectra  # type: ignore[attr-defined]
    return plan


def output(speech: SpeechModel) -> Tensor:
    features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        states: Tensor = speech.model.get_encoder()(features.to(speech.model.dtype))[0]
    return states


def without(plan: RankPlan) -> RankPlan:
    layers = (
        replace(layer, pivots=(), head_dim=layer.head_dim if layer.joint else None)
        for layer in plan
    )
    return replace(plan, layers=tuple(layers))


@pytest.mark.parametrize("keep", [0.8, 0.5])
def test_a_plan_with_pivots_gives_the_same_output_with_fewer_parameters(plans, keep: float) -> None:  # type: ignore[no-untyped-def]
    plan = plans(keep=keep, joint=keep < 0.6)
    kinds = {pivot for layer in plan for pivot in layer.pivots}
    assert kinds == {"inner", "heads_out", "heads_in"}
    pivot, plain = tiny_whisper(blocks=2), tiny_whisper(blocks=2)
    report = compress_(pivot, plan, plans.spectra)
    compress_(plain, without(plan), plans.spectra)
    torch.testing.assert_close(output(pivot), output(plain), rtol=1e-4, atol=1e-4)
    saved = without(plan).parameters - plan.parameters
    assert encoder_parameters(plain.model) - encoder_parameters(pivot.model) == saved > 0
    costs = Costs(unit="parameters", model=tiny_whisper(blocks=2).model)
    assert report.parameters_after == costs.of(plan) <= keep * costs.whole


def test_ranks_may_pass_break_even_where_pivots_pay_for_it(plans) -> None:  # type: ignore[no-untyped-def]
    half = 32  # of 64: where a plain chain costs as much as the layer
    ranks = [layer.rank for layer in plans(keep=0.9, joint=False) if layer.form == "chain"]
    assert max(ranks) > half
    plain = plans(keep=0.9, joint=False, pivots=False)
    assert all(not layer.pivots for layer in plain)
    assert all(
        (layer.rank or 0) < half for layer in plain if layer.in_features == 64 > layer.out_features
    )


def test_pivots_save_parameters_and_nothing_else(plans) -> None:  # type: ignore[no-untyped-def]
    assert all(not layer.pivots for layer in plans(keep=0.6, unit="flops"))


def test_they_are_saved_and_loaded(plans, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plan, speech = plans(keep=0.5), tiny_whisper(blocks=2)
    report = compress_(speech, plan, plans.spectra)
    lite = CompressedModel(speech=speech, plan=plan, report=report)
    assert any(layer.inner for layer in plan)
    again = load(lite.save(tmp_path / "lite"))
    assert again.plan == plan
    assert encoder_parameters(again.speech.model) == report.parameters_after
    assert torch.equal(output(again.speech), output(speech))
    chains = plans(keep=0.9, joint=False, units=False)
    with pytest.raises(CheckpointError, match="or plan with pivots=False"):
        replace(lite, plan=chains).save(tmp_path / "published", layout="lite-whisper")


def test_an_identity_alone_is_saved_and_loaded(plans, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A chain of the width of a head keeps nothing of the factor that the heads pivot on."""
    speech = tiny_whisper(blocks=2)
    layers = []
    for target in adapter_for(speech.model).targets(speech.model.get_encoder()):
        role = target.name.rpartition(".")[-1]
        kinds = {"k_proj": ("inner", "heads_out"), "out_proj": ("inner", "heads_in")}
        pivots = {"pivots": kinds[role], "head_dim": 16} if role in kinds else {}
        form = ("chain", 16) if role in kinds else ()
        layers.append(LayerPlan.of(target, *form, **pivots))  # type: ignore[arg-type]
    plan = RankPlan(model="tiny", rule="by hand", layers=tuple(layers))
    report = compress_(speech, plan, plans.spectra)
    assert plan.parameters == plan.dense_parameters - 4 * (64**2 - 16 * 64 * 2 + 16**2 + 4 * 16**2)
    again = load(CompressedModel(speech=speech, plan=plan, report=report).save(tmp_path / "lite"))
    assert torch.equal(output(again.speech), output(speech))


def test_they_are_undone_inside_and_back_afterwards() -> None:
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    encoder = speech.model.get_encoder()
    expected, size = output(speech), encoder_parameters(speech.model)
    places = {name: len(p.place) for name, m in encoder.named_modules() if (p := pivots_of(m))}
    with unpivoted_(speech.model, keep=True):
        assert not any(pivots_of(module) for module in encoder.modules())
        torch.testing.assert_close(output(speech), expected, rtol=1e-4, atol=1e-4)
        assert encoder_parameters(speech.model) > size
    assert encoder_parameters(speech.model) == size
    torch.testing.assert_close(output(speech), expected, rtol=1e-4, atol=1e-4)
    again = {name: len(p.place) for name, m in encoder.named_modules() if (p := pivots_of(m))}
    assert again == places


def test_looked_at_without_them_a_model_stays_as_it_is_to_the_last_digit() -> None:
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    before = {name: weight.clone() for name, weight in speech.model.state_dict().items()}
    with unpivoted_(speech.model, keep=False):
        assert not any(pivots_of(module) for module in speech.model.modules())
    after = speech.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_inside_both_sides_of_a_product_are_of_one_size() -> None:
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    encoder = speech.model.get_encoder()
    with unpivoted_(speech.model, keep=True):
        chain = encoder.get_submodule("layers.0.fc1")
        gram = chain.up.weight.T @ chain.up.weight
        torch.testing.assert_close(gram, torch.eye(chain.rank), rtol=1e-4, atol=1e-4)
        attention = encoder.layers[0].self_attn
        keys, queries = (
            layer.weight.detach().reshape(4, 3, 64)
            for layer in (attention.k_proj, attention.q_proj)
        )
        torch.testing.assert_close(keys @ keys.mT, queries @ queries.mT, rtol=1e-4, atol=1e-4)
        gram = keys @ keys.mT
        channels = torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
        torch.testing.assert_close(gram, channels, rtol=1e-4, atol=1e-4)


def test_what_stops_inside_leaves_them_as_they_were() -> None:
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    before = {name: weight.clone() for name, weight in speech.model.state_dict().items()}

    def stopped() -> None:
        with unpivoted_(speech.model, keep=True):
            for parameter in speech.model.get_encoder().parameters():
                parameter.data += 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    after = speech.model.state_dict()
    assert before.keys() == after.keys()
    layers = [name for name in before if ".self_attn." in name or ".fc1." in name]
    weights = [name for name in layers if not name.endswith("bias")]  # a training's own to restore
    changed = [name for name in weights if not torch.equal(before[name], after[name])]
    assert [name for name in changed if "layers.1.fc1" not in name] == []  # which has no pivots


def test_refinement_trains_whole_weights_and_keeps_the_size(recordings: Path) -> None:
    speech, original = tiny_whisper(blocks=2), tiny_whisper(blocks=2)
    pivoted(speech)
    size = encoder_parameters(speech.model)
    config = RefinementConfig(steps=2, mlp_steps=2, batch_size=1, check_every=1)
    report = refine_(speech, original, load_corpus(recordings), config)
    assert report.after <= report.before
    assert encoder_parameters(speech.model) == size


def test_a_packed_encoder_has_them_put_together() -> None:
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    packed = pack_encoder(speech.model)
    assert not any(pivots_of(module) for module in packed.modules())
    features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(packed(features), output(speech), rtol=1e-4, atol=1e-4)


def test_an_encoder_with_pivots_is_no_original() -> None:
    speech = tiny_whisper(blocks=1)
    targets = adapter_for(speech.model).targets(speech.model.get_encoder())
    layers = [LayerPlan.of(target) for target in targets]
    output_layer = next(i for i, t in enumerate(targets) if t.name.endswith("out_proj"))
    layers[output_layer] = replace(layers[output_layer], pivots=("heads_in",), head_dim=16)
    plan = RankPlan(model="tiny", rule="by hand", layers=tuple(layers))
    expected = output(speech)
    report = compress_(speech, plan, None)  # type: ignore[arg-type] - nothing to factorize
    assert report.parameters_before - report.parameters_after == 4 * 16**2
    torch.testing.assert_close(output(speech), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(PlanError, match="compressed already"):
        require_dense(speech.model, "tiny")


def test_copies_and_other_types_keep_them() -> None:
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    twin = deepcopy(speech.model.get_encoder()).to(torch.bfloat16)
    found = [p for module in twin.modules() if (p := pivots_of(module))]
    assert found
    assert all(p.place.dtype == torch.int16 for p in found)
    chain = twin.get_submodule("layers.0.self_attn.v_proj")
    assert isinstance(chain, LowRankLinear)
    assert chain.down.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pivots": ("outer",), "head_dim": 16},
            "pivots must be of inner, heads_out, heads_in, got 'outer'",
        ),
        ({"form": "dense", "rank": None, "pivots": ("inner",)}, "a dense layer has no inner"),
        ({"pivots": ("heads_out",)}, "head_dim belongs to"),
        ({"pivots": ("heads_out",), "head_dim": 32}, "take a rank of 32 or more, got 20"),
        ({"form": "units_out", "pivots": ("heads_out",), "head_dim": 16}, "cannot have pivots"),
        ({"form": "heads_in", "rank": 8, "pivots": ("heads_out",), "head_dim": 16}, "cannot have"),
    ],
)
def test_pivots_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    good = {"name": "layers.0.self_attn.k_proj", "form": "chain", "rank": 20}
    with pytest.raises(PlanError, match=message):
        LayerPlan(in_features=64, out_features=64, **{**good, **changes})  # type: ignore[arg-type]


def test_pivots_of_heads_belong_to_keys_and_outputs() -> None:
    speech = tiny_whisper(blocks=1)
    layers = [
        LayerPlan.of(t, head_dim=16, pivots=("heads_out",))
        if t.name.endswith("q_proj")
        else LayerPlan.of(t)
        for t in adapter_for(speech.model).targets(speech.model.get_encoder())
    ]
    plan = RankPlan(model="tiny", rule="by hand", layers=tuple(layers))
    with pytest.raises(PlanError, match=r"q_proj cannot have pivots 'heads_out' of 16"):
        compress_(speech, plan, None)  # type: ignore[arg-type] - refused before they are asked


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_its_output(name: str, recordings: Path) -> None:
    speech = FAMILIES[name]()
    plain = replace(speech, model=deepcopy(speech.model))
    corpus = load_corpus(recordings)
    spectra = spectra_of(speech, calibrate(speech, corpus))
    sensitivity = probe(speech, spectra, corpus, windows=1)
    config = BudgetConfig(keep=0.7, **SMALL)  # type: ignore[arg-type]
    plan = plan_ranks(speech, spectra, config, sensitivity=sensitivity)
    compress_(speech, plan, spectra)
    compress_(plain, without(plan), spectra)
    assert encoder_parameters(speech.model) < encoder_parameters(plain.model)
    window = next(adapter_for(speech.model).inputs(speech.processor, corpus[0].load()))
    encoders = (adapter_for(m.model).encoder(m.model) for m in (speech, plain))
    found, expected = (run_encoder(encoder, window) for encoder in encoders)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_an_exported_file_holds_no_identities(tmp_path: Path) -> None:
    """Eight bits lose most where large sums cancel, as they do behind an identity."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    speech = tiny_whisper(blocks=2)
    pivoted(speech)
    export_encoder(speech, tmp_path / "encoder.onnx")
    graph = onnx.load(tmp_path / "encoder.onnx").graph
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    matrices = [weight for weight in weights if weight.ndim == 2 and min(weight.shape) > 2]
    assert matrices
    for axis in (0, 1):
        assert all(((matrix != 0).sum(axis) > 1).all() for matrix in matrices)
