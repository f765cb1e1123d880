"""The laws that hold for every family of encoders, from calibration to the saved checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import liteasr
from liteasr.calibration import calibrate
from liteasr.compression import compress_
from liteasr.corpus import Corpus, load_corpus
from liteasr.encoders import (
    EncoderAdapter,
    adapter_for,
    encode,
    encoder_fingerprint,
    encoder_parameters,
    require_dense,
    run_encoder,
)
from liteasr.errors import PlanError
from liteasr.lowrank import hidden_units
from liteasr.nn import affine_of, to_vectors
from liteasr.plan import (
    Costs,
    Latencies,
    LayerPlan,
    RankPlan,
    measure_latency,
    spectra_of,
)
from liteasr.plan.flops import count_flops
from liteasr.refinement import RefinementConfig
from liteasr.refinement.streams import Mlp
from liteasr.sources import SpeechModel, load_dense
from tiny_families import FAMILIES, HAND_COUNTS
from tiny_latency import made_up

CHAINS_ALONE = {"parakeet"}
FULL_WINDOWS_ALONE = {"qwen2-audio"}  # in transformers; it masks padding in between
MakeWave = Callable[[int, float], np.ndarray]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def speech(family: str) -> SpeechModel:
    return FAMILIES[family]()


@pytest.fixture(scope="module")
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings).sample(2)


def parts(speech: SpeechModel) -> tuple[EncoderAdapter, nn.Module]:
    adapter = adapter_for(speech.model)
    return adapter, adapter.encoder(speech.model)


def output(speech: SpeechModel, wave: np.ndarray) -> Tensor:
    adapter, encoder = parts(speech)
    return run_encoder(encoder, next(adapter.inputs(speech.processor, wave)))


def test_encoding_is_what_transformers_computes(
    family: str, speech: SpeechModel, babble: MakeWave
) -> None:
    adapter, encoder = parts(speech)
    whole = adapter.window_s(speech.processor)
    duration_s = whole if family in FULL_WINDOWS_ALONE else 2.0
    window = next(adapter.inputs(speech.processor, babble(0, duration_s)))
    with torch.inference_mode():
        expected = encoder(**window.tensors).last_hidden_state
        torch.testing.assert_close(encode(encoder, window.tensors), expected, rtol=1e-5, atol=1e-5)


def test_every_block_can_be_run_from(speech: SpeechModel, babble: MakeWave) -> None:
    adapter, encoder = parts(speech)
    window = next(adapter.inputs(speech.processor, babble(0, 1.0)))
    entering: list[Tensor] = []
    for name in adapter.blocks(encoder):
        encoder.get_submodule(name).register_forward_pre_hook(
            lambda module, inputs: entering.append(inputs[0])
        )
    expected = run_encoder(encoder, window)
    with torch.inference_mode():
        for block, hidden in enumerate(entering[:]):
            assert torch.equal(adapter.run_from(encoder, block, hidden), expected)


def test_targets_are_called_and_have_the_shapes_they_say(
    speech: SpeechModel, babble: MakeWave
) -> None:
    adapter, encoder = parts(speech)
    seen = {}
    for target in adapter.targets(encoder):
        encoder.get_submodule(target.name).register_forward_hook(
            lambda module, inputs, made, name=target.name: seen.update(
                {name: tuple(to_vectors(module, x).shape[-1] for x in (inputs[0], made))}
            )
        )
    run_encoder(encoder, next(adapter.inputs(speech.processor, babble(0, 1.0))))
    expected = {t.name: (t.in_features, t.out_features) for t in adapter.targets(encoder)}
    assert seen == expected


def test_short_windows_are_cropped_ones(speech: SpeechModel, babble: MakeWave) -> None:
    adapter, encoder = parts(speech)
    window = next(adapter.inputs(speech.processor, babble(0, 3.0)))
    cropped = adapter.cropped(window, 20)
    assert cropped.valid_positions == 20 < window.valid_positions
    with torch.inference_mode():
        assert adapter.embed(encoder, cropped.tensors).shape[1] == 20
        whole = adapter.embed(encoder, window.tensors)
        assert whole.shape[1] >= window.valid_positions


def test_a_whole_window_has_as_many_positions_as_promised(
    speech: SpeechModel, babble: MakeWave
) -> None:
    adapter, encoder = parts(speech)
    wave = babble(0, adapter.window_s(speech.processor))
    window = next(adapter.inputs(speech.processor, wave))
    assert window.valid_positions == adapter.positions(encoder)
    promised = {name: tensor.shape for name, tensor in adapter.full_window(encoder).items()}
    assert {name: tensor.shape for name, tensor in window.tensors.items()} == promised


def test_low_rank_layers_are_recovered(
    speech: SpeechModel, corpus: Corpus, babble: MakeWave
) -> None:
    """Every target made rank 8: chains of rank 8 compute the same."""
    adapter, encoder = parts(speech)
    targets = adapter.targets(encoder)
    with torch.no_grad():
        for target in targets:
            weight, _ = affine_of(encoder.get_submodule(target.name))
            left, singular, right = torch.linalg.svd(weight, full_matrices=False)
            weight.copy_((left[:, :8] * singular[:8]) @ right[:8])
    expected = output(speech, babble(9, 2.0))
    before = encoder_parameters(speech.model)
    had_bias = {t.name: affine_of(encoder.get_submodule(t.name))[1] is not None for t in targets}
    spectra = spectra_of(speech, calibrate(speech, corpus))
    for target in targets:
        assert spectra[target.name].variances[8:].sum() < 1e-6 * spectra[target.name].total_variance
    layers = tuple(LayerPlan.of(target, "chain", 8) for target in targets)
    plan = RankPlan(model=speech.name, rule="test", layers=layers)
    report = compress_(speech, plan, spectra)
    torch.testing.assert_close(output(speech, babble(9, 2.0)), expected, rtol=1e-3, atol=1e-4)
    by_hand = sum(
        8 * (t.in_features + t.out_features) - t.in_features * t.out_features for t in targets
    )
    biases = sum(t.out_features for t in targets if not had_bias[t.name])
    assert report.parameters_after == before + by_hand + biases
    with pytest.raises(PlanError, match="is compressed already"):
        require_dense(speech.model, speech.name)


def test_an_mlp_is_its_two_layers_and_the_function_between_them(
    speech: SpeechModel, babble: MakeWave
) -> None:
    adapter, encoder = parts(speech)
    for site in adapter.mlps(encoder):
        seen: dict[str, Tensor] = {}

        def enter(module: nn.Module, inputs: tuple[Tensor, ...], seen: Any = seen) -> None:
            seen["x"] = inputs[0]

        def leave(module: nn.Module, inputs: Any, output: Tensor, seen: Any = seen) -> None:
            seen["y"] = output

        with (
            encoder.get_submodule(site.first).register_forward_pre_hook(enter),
            encoder.get_submodule(site.second).register_forward_hook(leave),
        ):
            output(speech, babble(9, 2.0))
        with torch.inference_mode():
            torch.testing.assert_close(Mlp(encoder, site)(seen["x"]), seen["y"])


def test_copies_of_hidden_units_go_for_nothing(
    speech: SpeechModel, corpus: Corpus, babble: MakeWave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the units of every MLP repeat the others: without them the output is the same."""
    monkeypatch.setattr(hidden_units, "RIDGES", (1e-9,))
    adapter, encoder = parts(speech)
    forms = {}
    for site in adapter.mlps(encoder):
        weight, bias = affine_of(encoder.get_submodule(site.first))
        assert len(weight) == site.units
        for tensor in (weight, *(() if bias is None else (bias,))):
            tensor.data[site.units // 2 :] = tensor.data[: site.units // 2].flip(0)
        half = site.units // 2
        forms |= {site.first: ("units_out", half), site.second: ("units_in", half)}
    assert len(forms) >= 2 * len(adapter.blocks(encoder))
    expected = output(speech, babble(9, 2.0))
    layers = [
        LayerPlan.of(target, *forms.get(target.name, ("dense", None)))  # type: ignore[arg-type]
        for target in adapter.targets(encoder)
    ]
    plan = RankPlan(model=speech.name, rule="test", layers=tuple(layers))
    cost = Costs(unit="parameters", model=speech.model).of(plan)
    report = compress_(speech, plan, spectra_of(speech, calibrate(speech, corpus)))
    moved = (output(speech, babble(9, 2.0)) - expected).norm() / expected.norm()
    assert moved < 1e-3
    assert report.parameters_after == cost
    with pytest.raises(PlanError, match=r"is compressed already .* units\)"):
        require_dense(speech.model, speech.name)


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - CHAINS_ALONE), indirect=True)
def test_heads_of_full_width_change_nothing(
    family: str, speech: SpeechModel, corpus: Corpus, babble: MakeWave
) -> None:
    adapter, encoder = parts(speech)
    sites = adapter.attentions(encoder)
    assert len(sites) == len(adapter.blocks(encoder))
    forms = {}
    for site in sites:
        pairs = [(site.value, "heads_out"), (site.output, "heads_in")]
        if not site.rotary:
            pairs += [(site.query, "heads_out"), (site.key, "heads_out")]
        forms |= {name: (form, site.head_dim) for name, form in pairs}
    layers = []
    for target in adapter.targets(encoder):
        if target.name in forms:
            form, width = forms[target.name]
            layers.append(LayerPlan.of(target, form, width, head_dim=width))  # type: ignore[arg-type]
        else:
            layers.append(LayerPlan.of(target))
    expected = output(speech, babble(9, 2.0))
    plan = RankPlan(model=speech.name, rule="test", layers=tuple(layers))
    compress_(speech, plan, spectra_of(speech, calibrate(speech, corpus)))
    torch.testing.assert_close(output(speech, babble(9, 2.0)), expected, rtol=1e-4, atol=1e-4)


def test_the_whole_path_ends_in_the_same_output(
    family: str, speech: SpeechModel, recordings: Path, babble: MakeWave, tmp_path: Path
) -> None:
    """Calibrate, probe, plan, compress, refine, save, load: every number is the same again."""
    dense = encoder_fingerprint(speech.model)
    lite = liteasr.compress(
        speech,
        audio=recordings,
        samples=2,
        keep=0.75,
        refinement=RefinementConfig(steps=1, batch_size=1, held_out=0.5),
    )
    assert 0.7 < lite.report.kept <= 0.75
    assert lite.calibration is not None
    assert lite.calibration.encoder_sha256 == dense
    assert lite.refinement is not None
    lite.save(tmp_path / "lite")
    again = liteasr.load(tmp_path / "lite")
    wave = babble(7, 2.5)
    assert torch.equal(output(again.speech, wave), output(speech, wave))
    assert again.report == lite.report
    assert again.speech.model.state_dict().keys() == speech.model.state_dict().keys()


def test_folders_of_transformers_are_opened(
    speech: SpeechModel, babble: MakeWave, tmp_path: Path
) -> None:
    speech.model.save_pretrained(tmp_path)
    speech.processor.save_pretrained(tmp_path)
    opened = load_dense(tmp_path)
    assert encoder_fingerprint(opened.model) == encoder_fingerprint(speech.model)
    assert torch.equal(output(opened, babble(3, 1.0)), output(speech, babble(3, 1.0)))


def test_flops_are_those_of_a_hand_count(family: str, speech: SpeechModel) -> None:
    adapter, encoder = parts(speech)
    counted = count_flops(speech.model)
    assert counted.total == HAND_COUNTS[family](encoder)
    costs = Costs(unit="flops", model=speech.model)
    assert costs.dense == counted.total
    for target in adapter.targets(encoder):
        layer = LayerPlan.of(target, "chain", 8)
        vectors = counted.vectors[target.name]
        assert costs.layer(layer) == 2 * vectors * 8 * (target.in_features + target.out_features)


def test_latencies_and_half_precision_are_priced(speech: SpeechModel) -> None:
    """A budget of time needs every form of every family to be measurable."""
    table = measure_latency(speech, stopwatch=made_up)
    prices = Latencies(model=speech.model, table=table)
    adapter, encoder = parts(speech)
    dense = RankPlan(
        model="", rule="", layers=tuple(LayerPlan.of(t) for t in adapter.targets(encoder))
    )
    assert prices.of(dense) == pytest.approx(prices.dense)
    whole = count_flops(speech.model).total
    assert count_flops(speech.model.half()).total == whole


def test_parameters_are_those_of_a_hand_count(speech: SpeechModel) -> None:
    adapter, encoder = parts(speech)
    costs = Costs(unit="parameters", model=speech.model)
    whole = sum(parameter.numel() for parameter in encoder.parameters())
    assert costs.dense == whole - adapter.position_parameters(encoder)
    targets = adapter.targets(encoder)
    assert costs.fixed == costs.dense - sum(t.in_features * t.out_features for t in targets)
