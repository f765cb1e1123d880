import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liteasr.calibration import calibrate
from liteasr.compression import compress_
from liteasr.corpus import Corpus, load_corpus
from liteasr.encoders import adapter_for, run_encoder
from liteasr.errors import RefinementError, StorageError
from liteasr.plan import LayerPlan, RankPlan, spectra_of
from liteasr.refinement import RefinementConfig, refine_
from liteasr.refinement.objective import Objective
from liteasr.refinement.session import _Run, _schedule
from liteasr.refinement.state import RefinementState
from liteasr.sources import SpeechModel
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors

QUICK = RefinementConfig(
    steps=6, batch_size=1, check_every=2, save_every=2, learning_rate=1e-3, precision="float32"
)
STATE = "refinement.safetensors"


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


@pytest.fixture
def corpus(recordings: Path) -> Corpus:
    return load_corpus(recordings)


@pytest.fixture
def reduced(make_speech, corpus: Corpus) -> Callable[[], SpeechModel]:  # type: ignore[no-untyped-def]
    """The tiny model, every MLP cut to rank 8; each call makes the same."""

    def make() -> SpeechModel:
        speech: SpeechModel = make_speech()
        layers = tuple(
            LayerPlan(
                name=target.name,
                form="chain" if target.group == "mlp" else "dense",
                rank=8 if target.group == "mlp" else None,
                in_features=target.in_features,
                out_features=target.out_features,
            )
            for target in adapter_for(speech.model).targets(speech.model.get_encoder())
        )
        plan = RankPlan(model=speech.name, rule="test", layers=layers)
        compress_(speech, plan, spectra_of(speech, calibrate(speech, corpus)))
        return speech

    return make


def weights(speech: SpeechModel) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in speech.model.get_encoder().named_parameters()}


class Interruption:
    """A progress bar that is stopped by hand after some steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, items: Iterable[int], **_: object) -> Iterable[int]:
        for count, item in enumerate(items):
            if count == self.after:
                raise KeyboardInterrupt
            yield item


def test_the_encoder_comes_nearer_to_the_original(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    speech, original = reduced(), make_speech()
    before = weights(original)
    longer = replace(QUICK, steps=40, batch_size=2, check_every=10)
    report = refine_(speech, original, corpus, longer)
    assert report.after < 0.8 * report.before
    assert report.best_step > 0
    assert [point.step for point in report.curve] == [0, 10, 20, 30, 40]
    for name, parameter in original.model.get_encoder().named_parameters():
        assert torch.equal(parameter, before[name]), "the original is not changed"


def test_it_never_ends_worse_than_it_began(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    speech = reduced()
    before = weights(speech)
    wild = replace(QUICK, learning_rate=3.0, gradient_clip=1e6)
    report = refine_(speech, make_speech(), corpus, wild)
    assert report.after == report.before
    assert report.best_step == 0
    for name, parameter in weights(speech).items():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize("after", [1, 3, 4])
def test_an_interrupted_run_ends_as_if_nothing_had_happened(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path, after: int
) -> None:
    straight = reduced()
    expected = refine_(straight, make_speech(), corpus, QUICK)
    stopped = reduced()
    with pytest.raises(KeyboardInterrupt):
        refine_(
            stopped, make_speech(), corpus, QUICK, path=tmp_path / STATE, track=Interruption(after)
        )
    assert (tmp_path / STATE).is_file()
    again = reduced()
    report = refine_(again, make_speech(), corpus, QUICK, path=tmp_path / STATE)
    assert report.curve == expected.curve
    for name, parameter in weights(again).items():
        assert torch.equal(parameter, weights(straight)[name])
    assert not list(tmp_path.iterdir()), "the state is removed at the end"


@pytest.mark.parametrize("place", ["check", "update"])
def test_no_instant_is_a_bad_one_to_stop_at(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path, place: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    straight, stopped, path = reduced(), reduced(), tmp_path / STATE
    expected = refine_(straight, make_speech(), corpus, QUICK)
    before = weights(stopped)
    if place == "check":  # the first check after the start
        calls = iter(range(100))
        measured = _Run._error
        monkeypatch.setattr(_Run, "_error", lambda run: stop_at(1, calls) or measured(run))
    else:  # some weights are those of the fourth step, the others of the third
        calls = iter(range(100))
        monkeypatch.setattr(
            torch.optim.AdamW, "step", stopping_in_the_middle(torch.optim.AdamW.step, 3, calls)
        )
    with pytest.raises(KeyboardInterrupt):
        refine_(stopped, make_speech(), corpus, QUICK, path=path)
    monkeypatch.undo()
    assert ("in the middle of an update" in caplog.text) == (place == "update")
    for name, parameter in weights(stopped).items():
        assert torch.equal(parameter, before[name]), "the model is what it was"
    report = refine_(stopped, make_speech(), corpus, QUICK, path=path)
    assert report.curve == expected.curve
    for name, parameter in weights(stopped).items():
        assert torch.equal(parameter, weights(straight)[name])


def stop_at(last: int, calls: Iterator[int]) -> None:
    if next(calls) == last:
        raise KeyboardInterrupt


def stopping_in_the_middle(
    step: Callable[..., None], last: int, calls: Iterator[int]
) -> Callable[..., None]:
    def torn(optimizer: torch.optim.Optimizer, *arguments: object) -> None:
        if next(calls) < last:
            return step(optimizer, *arguments)
        with torch.no_grad():
            optimizer.param_groups[0]["params"][0].zero_()
        raise KeyboardInterrupt

    return torn


def test_a_full_disk_does_not_hide_why_it_stopped(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(RefinementState, "save", full)
    with pytest.raises(KeyboardInterrupt):
        refine_(
            reduced(), make_speech(), corpus, QUICK, path=tmp_path / STATE, track=Interruption(1)
        )
    assert "cannot be kept: no space left" in caplog.text


def test_a_damaged_state_is_refused_by_name(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / STATE
    with pytest.raises(KeyboardInterrupt):
        refine_(reduced(), make_speech(), corpus, QUICK, path=path, track=Interruption(1))
    whole, metadata = read_tensors(path), read_metadata(path)
    some = {name: tensor for name, tensor in whole.items() if not name.startswith("best.")}
    for tensors, changed in (
        (whole, {"task": "{"}),
        (whole, {"values": "[]"}),
        (some, {}),
    ):
        write_tensors(path, tensors, {**metadata, **changed})
        with pytest.raises(RefinementError, match=f"{STATE} is damaged .* delete it"):
            refine_(reduced(), make_speech(), corpus, QUICK, path=path)


def test_a_state_that_cannot_be_written_is_refused_at_once(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="is a folder"):
        refine_(reduced(), make_speech(), corpus, QUICK, path=tmp_path)


def test_the_state_of_another_task_is_refused(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / STATE
    with pytest.raises(KeyboardInterrupt):
        refine_(reduced(), make_speech(), corpus, QUICK, path=path, track=Interruption(2))
    other = replace(QUICK, learning_rate=2e-3)
    with pytest.raises(RefinementError, match="another learning_rate: delete it"):
        refine_(reduced(), make_speech(), corpus, other, path=path)
    with pytest.raises(RefinementError, match="another corpus: delete it"):
        refine_(reduced(), make_speech(), corpus.sample(4), QUICK, path=path)


def test_checks_without_a_new_best_end_it(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    wild = replace(QUICK, learning_rate=3.0, gradient_clip=1e6, patience=1)
    assert refine_(reduced(), make_speech(), corpus, wild).steps == 2


def test_half_precision_models_stay_so(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    speech, original = reduced(), make_speech()
    for model in (speech.model, original.model):
        model.to(torch.bfloat16)
    report = refine_(speech, original, corpus, replace(QUICK, steps=2))
    for model in (speech.model, original.model):
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert math.isfinite(report.after)


def test_low_precision_products_still_learn(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    report = refine_(
        reduced(), make_speech(), corpus, replace(QUICK, steps=12, precision="bfloat16")
    )
    assert report.after < report.before


def test_a_loss_that_is_no_number_stops_it(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path
) -> None:
    original = make_speech()
    with torch.no_grad():
        original.model.get_encoder().layers[0].fc1.bias[0] = float("nan")
    with pytest.raises(RefinementError, match="loss is nan at step 0: lower learning_rate"):
        refine_(reduced(), original, corpus, QUICK, path=tmp_path / STATE)
    assert not list(tmp_path.iterdir()), "nothing to go on from: it would end in the same way"


def test_a_batch_is_the_mean_of_its_windows(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    objective = Objective(make_speech().model, block_weight=0.1)
    speech = reduced()
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    windows = [next(adapter.inputs(speech.processor, u.load())).tensors for u in corpus]
    alone = [torch.stack(objective(encoder, window)).detach() for window in windows]
    batch = {"input_features": torch.cat([w["input_features"] for w in windows])}
    together = torch.stack(objective(encoder, batch)).detach()
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-6)


def test_one_utterance_is_not_enough(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RefinementError, match="2 utterances or more"):
        refine_(reduced(), make_speech(), corpus.sample(1), QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"held_out": 1.0}, "held_out must be between 0 and 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"precision": "int4"}, "precision must be one of"),
    ],
)
def test_settings_out_of_range_name_the_limit(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RefinementConfig(**change)  # type: ignore[arg-type]


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    shares = [_schedule(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.2)
    assert max(shares) == 1.0
    assert shares[5:] == sorted(shares[5:], reverse=True)
    assert shares[-1] < 1e-3


def test_refined_layers_still_run(make_speech, reduced, corpus: Corpus, babble) -> None:  # type: ignore[no-untyped-def]
    speech = reduced()
    refine_(speech, make_speech(), corpus, replace(QUICK, steps=1))
    adapter = adapter_for(speech.model)
    (window,) = adapter.inputs(speech.processor, babble(3, 2.0))
    assert torch.isfinite(run_encoder(speech.model.get_encoder(), window)).all()
