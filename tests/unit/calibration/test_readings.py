"""Gradients of random readings of the encoder's output, counted beside the moments."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liteasr.artefacts import find_sensitivity, find_spectra
from liteasr.calibration import Calibration, calibrate
from liteasr.calibration.readings import Reader
from liteasr.corpus import Corpus
from liteasr.encoders import adapter_for, readout_metric, run_encoder
from liteasr.errors import CalibrationError, PlanError
from liteasr.lowrank import Gradients
from liteasr.plan import BudgetConfig, ThresholdConfig, plan_ranks, spectra_of, uses_readings
from liteasr.runtime import listener_of
from liteasr.sensitivity import probe
from liteasr.sensitivity.truncation import truncating
from liteasr.sources import SpeechModel
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors
from stopping import Stop
from tiny_whisper import tiny_whisper

OUT = "layers.0.self_attn.out_proj"
WIDENS = "layers.1.fc1"


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    return tiny_whisper(window_s=5)


def reading(speech: SpeechModel, corpus: Corpus, number: int, seed: int) -> torch.Tensor:
    """The same reading, by the model's own forward, with a graph to its parameters."""
    encoder, adapter = speech.model.get_encoder(), adapter_for(speech.model)
    (window,) = adapter.inputs(speech.processor, corpus[number].load())
    output = encoder(**window.tensors).last_hidden_state
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, output.shape, generator=generator) * 2.0 - 1.0
    signs[:, window.valid_positions :] /= 2
    return ((output @ readout_metric(speech.model).T) * signs).sum()


def assert_same(found: Gradients, expected: Gradients) -> None:
    assert found.count == expected.count
    torch.testing.assert_close(found.products, expected.products, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [OUT, "layers.1.fc2", "layers.0.self_attn.v_proj", WIDENS])
def test_gradients_are_those_of_the_reading(speech, corpus, name: str) -> None:  # type: ignore[no-untyped-def]
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    (window,) = adapter.inputs(speech.processor, corpus[2].load())
    found = Reader.of(speech, adapter, encoder).read(encoder, window, seed=7)[name]
    outputs = []
    handle = encoder.get_submodule(name).register_forward_hook(lambda m, x, y: outputs.append(y))
    with torch.enable_grad():
        encoder.requires_grad_()
        (expected,) = torch.autograd.grad(reading(speech, corpus, 2, 7), outputs)
    handle.remove()
    products = expected[0].double().T @ expected[0].double()
    products = products.diagonal() if name == WIDENS else products
    torch.testing.assert_close(found.products, products, rtol=1e-3, atol=1e-4)
    assert found.count == encoder.embed_positions.num_embeddings


def test_every_layer_is_looked_at(speech: SpeechModel, made: Calibration) -> None:
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    assert set(made.readings) == {target.name for target in adapter.targets(encoder)}


def test_nothing_is_left_behind(speech: SpeechModel, corpus: Corpus) -> None:
    calibrate(speech, replace(corpus, utterances=corpus.utterances[:1]))
    assert all(parameter.grad is None for parameter in speech.model.parameters())
    assert not any(module._forward_hooks for module in speech.model.modules())


def test_every_other_window_is_read(speech, corpus, made: Calibration) -> None:  # type: ignore[no-untyped-def]
    positions = speech.model.get_encoder().embed_positions.num_embeddings
    assert made.readings[OUT].count == 3 * positions  # of six
    parts = (
        calibrate(speech, replace(corpus, utterances=corpus.utterances[i : i + 2])).readings[OUT]
        for i in (0, 2)
    )
    first, second = parts
    assert first.count == second.count == positions


def test_an_interrupted_run_counts_the_same(speech, corpus, made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, path=path, track=Stop(3))
    calibrate(speech, corpus, path=path)
    found = Calibration.load(path)
    assert found.readings.keys() == made.readings.keys()
    for name, moments in found.readings.items():
        assert_same(moments, made.readings[name])


def test_a_run_goes_on_as_it_began(speech, corpus, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, readings=False, path=path, track=Stop(1))
    assert calibrate(speech, corpus, path=path).readings == {}
    assert "going on without readings" in caplog.text


def test_files_made_before_are_read_and_say_so(speech, made, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.safetensors"
    made.save(path)
    metadata = {k: v for k, v in read_metadata(path).items() if k != "readings"}
    tensors = {k: v for k, v in read_tensors(path).items() if not k.startswith("read:")}
    write_tensors(path, tensors, metadata)
    older = Calibration.load(path)
    assert older.readings == {}
    with caplog.at_level(logging.INFO, logger="liteasr"):
        spectra = spectra_of(speech, older)
    assert not spectra.weighed
    assert "no readings" in caplog.text


def test_damaged_gradients_are_named(made: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    made.save(path)
    metadata, tensors = read_metadata(path), read_tensors(path)
    for wrong in ({}, {f"read:{OUT}": torch.zeros(3, 2)}, {f"read:{OUT}": torch.zeros(2, 2, 2)}):
        kept = {k: v for k, v in tensors.items() if k != f"read:{OUT}"}
        write_tensors(path, {**kept, **wrong}, metadata)
        with pytest.raises(CalibrationError, match=rf"damaged.*gradients at read:{OUT}"):
            Calibration.load(path)


def test_the_rule_of_the_paper_counts_errors_as_they_are(speech, corpus, made) -> None:  # type: ignore[no-untyped-def]
    without = calibrate(speech, corpus, readings=False)
    plain = [spectra_of(speech, c, units=False, weighed=False) for c in (made, without)]
    for name in plain[0]:
        assert torch.equal(plain[0][name].components, plain[1][name].components)
        assert torch.equal(plain[0][name].readers, plain[0][name].components)
    plans = [plan_ranks(speech, spectra, ThresholdConfig()) for spectra in plain]
    assert plans[0] == plans[1]


@pytest.mark.parametrize("rank", [24, 40, 56])
@pytest.mark.parametrize("name", [OUT, "layers.1.fc2", WIDENS])
def test_what_is_cut_by_the_metric_moves_the_output_less(  # type: ignore[no-untyped-def]
    speech, corpus, made: Calibration, name: str, rank: int
) -> None:
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    metric = readout_metric(speech.model).T
    windows = [next(adapter.inputs(speech.processor, u.load())) for u in corpus]
    before = [run_encoder(encoder, window) @ metric for window in windows]
    moved = []
    for weighed in (True, False):
        spectrum = spectra_of(speech, made, units=False, weighed=weighed)[name]
        with truncating(encoder.get_submodule(name), spectrum, rank):
            after = [run_encoder(encoder, window) @ metric for window in windows]
        moved.append(sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True)))
    assert moved[0] < moved[1]


def test_a_plan_says_whether_errors_were_weighed(speech, corpus, made) -> None:  # type: ignore[no-untyped-def]
    for weighed in (True, False):
        spectra = spectra_of(speech, made, weighed=weighed)
        weights = probe(speech, spectra, corpus, windows=1)
        config = BudgetConfig(keep=0.8, multiple_of=4, weighed=weighed)
        plan = plan_ranks(speech, spectra, config, sensitivity=weights)
        assert plan.options["weighed"] is uses_readings(plan) is weighed
    assert not uses_readings(plan_ranks(speech, spectra, ThresholdConfig()))


def test_sensitivities_of_another_metric_are_probed_anew(  # type: ignore[no-untyped-def]
    speech, corpus, made: Calibration, tmp_path: Path
) -> None:
    moments = tmp_path / "m.safetensors"
    found = []
    for weighed in (True, False, False):
        spectra = find_spectra(speech, made, moments, units=False, weighed=weighed)
        found.append(find_sensitivity(speech, made, spectra, corpus, moments))
    assert found[0].calibration == f"{found[1].calibration}, weighed"
    assert found[0].curves != found[1].curves
    assert found[1] == found[2]


def test_thresholds_refuse_weighed_spectra(speech, made) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanError, match="weighed=False"):
        plan_ranks(speech, spectra_of(speech, made, units=False), ThresholdConfig())


def test_what_is_heard_counts_four_fifths(speech, corpus) -> None:  # type: ignore[no-untyped-def]
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    (window,) = adapter.inputs(speech.processor, corpus[2].load())
    asked = []

    def listen(encoded, duration_s, language, seed):  # type: ignore[no-untyped-def]
        asked.append((duration_s, language, seed))
        # what the random part reads, at another scale
        return 100 * plain._random(encoder, window, encoded.shape, seed)

    plain = Reader.of(speech, adapter, encoder)
    reader = Reader.of(speech, adapter, encoder, listen)
    found = reader.read(encoder, window, seed=7, language="en")[OUT]
    assert asked == [(window.duration_s, "en", 7)]
    alone = plain.read(encoder, window, seed=7)[OUT]
    # both are the same, so they add up before they are squared: (√0.8 + √0.2)²
    torch.testing.assert_close(found.products, 1.8 * alone.products, rtol=1e-3, atol=1e-4)


def test_silence_is_read_as_before(speech, corpus) -> None:  # type: ignore[no-untyped-def]
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    (window,) = adapter.inputs(speech.processor, corpus[2].load())
    deaf = Reader.of(speech, adapter, encoder, lambda *_: None)
    found = deaf.read(encoder, window, seed=7)[OUT]
    assert_same(found, Reader.of(speech, adapter, encoder).read(encoder, window, seed=7)[OUT])


def test_a_calibration_says_whether_it_listened(speech, corpus, made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.safetensors"
    listen = listener_of(speech)
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, listen=listen, path=path, track=Stop(3))
    heard = calibrate(speech, corpus, listen=listen, path=path)
    assert Calibration.load(path).provenance.heard
    whole = calibrate(speech, corpus, listen=listen)
    for name, gradients in heard.readings.items():
        assert_same(gradients, whole.readings[name])
    assert not made.provenance.heard
    assert not torch.allclose(heard.readings[OUT].products, made.readings[OUT].products)
    first, second = (
        find_sensitivity(speech, one, spectra_of(speech, one), corpus, path)
        for one in (heard, made)
    )
    assert first.calibration != second.calibration


def test_moments_made_without_the_decoder_are_reused(  # type: ignore[no-untyped-def]
    speech, corpus, tmp_path: Path, caplog
) -> None:
    path = tmp_path / "m.safetensors"
    calibrate(speech, corpus, path=path)
    again = calibrate(speech, corpus, listen=listener_of(speech), path=path)
    assert not again.provenance.heard
    assert "made without the decoder" in caplog.text


def test_a_run_that_began_without_the_decoder_goes_on_so(  # type: ignore[no-untyped-def]
    speech, corpus, made, tmp_path: Path, caplog
) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, path=path, track=Stop(1))
    found = calibrate(speech, corpus, listen=listener_of(speech), path=path)
    assert_same(found.readings[OUT], made.readings[OUT])
    assert "going on without the decoder" in caplog.text


def test_a_run_that_began_with_the_decoder_does_not_go_on_without(  # type: ignore[no-untyped-def]
    speech, corpus, tmp_path: Path
) -> None:
    path, listen = tmp_path / "m.safetensors", listener_of(speech)
    with pytest.raises(KeyboardInterrupt):
        calibrate(speech, corpus, listen=listen, path=path, track=Stop(1))
    with pytest.raises(CalibrationError, match=r"1 recordings .* give listen=listener_of"):
        calibrate(speech, corpus, path=path)
    assert calibrate(speech, corpus, listen=listen, path=path).provenance.heard
