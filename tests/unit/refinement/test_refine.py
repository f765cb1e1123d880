import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liteasr.calibration import calibrate
from liteasr.compression import compress_
from liteasr.corpus import Corpus
from liteasr.encoders import adapter_for, encode, run_encoder
from liteasr.errors import RefinementError, StorageError, UnsupportedModelError
from liteasr.plan import LayerPlan, RankPlan, spectra_of
from liteasr.progress import silent
from liteasr.refinement import RefinementConfig, material, refine_, session
from liteasr.refinement.distances import Distances
from liteasr.refinement.material import text_shares
from liteasr.refinement.objective import Objective
from liteasr.refinement.pieces import Said
from liteasr.refinement.schedule import share_of_peak
from liteasr.refinement.session import WARM_UP, _Run
from liteasr.refinement.state import RefinementState
from liteasr.refinement.weights import copies, exchanged_, in_training_
from liteasr.refinement.windows import TrainingWindow
from liteasr.runtime.forcing import forcing_for
from liteasr.sources import SpeechModel
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors
from stopping import Interruption
from tiny_ctc import tiny_wav2vec2

QUICK = RefinementConfig(
    steps=6,
    mlp_steps=0,
    batch_size=1,
    check_every=2,
    save_every=2,
    learning_rate=1e-3,
    divergence_weight=0.0,
    precision="float32",
)
LISTENING = replace(QUICK, divergence_weight=1.0)
STATE = "refinement.safetensors"


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


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


def test_the_encoder_comes_nearer_to_the_original(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    speech, original = reduced(), make_speech()
    before = copies(original.model.get_encoder())
    longer = replace(QUICK, steps=40, batch_size=2, check_every=10)
    report = refine_(speech, original, corpus, longer)
    assert report.after < 0.8 * report.before
    assert report.best_step > 0
    assert [point.step for point in report.curve] == [0, 10, 20, 30, 40]
    for name, parameter in original.model.get_encoder().named_parameters():
        assert torch.equal(parameter, before[name]), "the original is not changed"


def test_windows_drawn_ahead_change_nothing(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = refine_(reduced(), make_speech(), corpus, replace(QUICK, batch_size=2))
    monkeypatch.setattr(session, "drawers_for", lambda device: 2)
    again = refine_(reduced(), make_speech(), corpus, replace(QUICK, batch_size=2))
    assert [point.held_out for point in again.curve] == [point.held_out for point in once.curve]


def test_it_never_ends_worse_than_it_began(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    speech = reduced()
    before = copies(speech.model.get_encoder())
    wild = replace(QUICK, learning_rate=3.0, gradient_clip=1e6)
    report = refine_(speech, make_speech(), corpus, wild)
    assert report.after == report.before
    assert report.best_step == 0
    for name, parameter in copies(speech.model.get_encoder()).items():
        assert torch.equal(parameter, before[name])


# six recordings are read, or listened to, before the first of six steps
@pytest.mark.parametrize(
    ("after", "config"),
    [(2, LISTENING), (7, QUICK), (9, LISTENING), (10, QUICK)],
)
def test_an_interrupted_run_ends_as_if_nothing_had_happened(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path, after: int, config: RefinementConfig
) -> None:
    straight = reduced()
    expected = refine_(straight, make_speech(), corpus, config)
    stopped = reduced()
    with pytest.raises(KeyboardInterrupt):
        refine_(
            stopped, make_speech(), corpus, config, path=tmp_path / STATE, track=Interruption(after)
        )
    assert (tmp_path / STATE).is_file()
    again = reduced()
    report = refine_(again, make_speech(), corpus, config, path=tmp_path / STATE)
    assert report.curve == expected.curve
    for name, parameter in copies(again.model.get_encoder()).items():
        assert torch.equal(parameter, copies(straight.model.get_encoder())[name])
    assert not list(tmp_path.iterdir()), "the state is removed at the end"


@pytest.mark.parametrize("place", ["check", "update"])
def test_no_instant_is_a_bad_one_to_stop_at(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path, place: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    straight, stopped, path = reduced(), reduced(), tmp_path / STATE
    expected = refine_(straight, make_speech(), corpus, QUICK)
    before = copies(stopped.model.get_encoder())
    if place == "check":  # the first check after the start
        calls = iter(range(100))
        measured = Distances.held_out
        monkeypatch.setattr(
            Distances,
            "held_out",
            lambda one, windows: stop_at(1, calls) or measured(one, windows),
        )
    else:  # some weights are those of the fourth step, the others of the third
        calls = iter(range(100))
        monkeypatch.setattr(
            torch.optim.AdamW, "step", stopping_in_the_middle(torch.optim.AdamW.step, 3, calls)
        )
    with pytest.raises(KeyboardInterrupt):
        refine_(stopped, make_speech(), corpus, QUICK, path=path)
    monkeypatch.undo()
    assert ("in the middle of an update" in caplog.text) == (place == "update")
    for name, parameter in copies(stopped.model.get_encoder()).items():
        assert torch.equal(parameter, before[name]), "the model is what it was"
    report = refine_(stopped, make_speech(), corpus, QUICK, path=path)
    assert report.curve == expected.curve
    for name, parameter in copies(stopped.model.get_encoder()).items():
        assert torch.equal(parameter, copies(straight.model.get_encoder())[name])


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
            reduced(), make_speech(), corpus, QUICK, path=tmp_path / STATE, track=Interruption(7)
        )
    assert "cannot be kept: no space left" in caplog.text


def test_a_damaged_state_is_refused_by_name(  # type: ignore[no-untyped-def]
    make_speech, reduced, corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / STATE
    with pytest.raises(KeyboardInterrupt):
        refine_(reduced(), make_speech(), corpus, QUICK, path=path, track=Interruption(7))
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
        refine_(reduced(), make_speech(), corpus, QUICK, path=path, track=Interruption(8))
    other = replace(QUICK, learning_rate=2e-3)
    with pytest.raises(RefinementError, match="another learning_rate: delete it"):
        refine_(reduced(), make_speech(), corpus, other, path=path)
    with pytest.raises(RefinementError, match="another corpus: delete it"):
        refine_(reduced(), make_speech(), corpus.sample(4), QUICK, path=path)


def test_checks_without_a_new_best_end_it(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    wild = replace(QUICK, learning_rate=3.0, gradient_clip=1e6, patience=1)
    assert refine_(reduced(), make_speech(), corpus, wild).steps == 2


def test_setbacks_are_undone_and_halve_the_steps(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    speech = reduced()
    before = copies(speech.model.get_encoder())
    bold = replace(QUICK, steps=6, learning_rate=3.0, gradient_clip=1e6)
    with in_training_(speech.model.get_encoder(), make_speech().model):
        run = _Run(speech, make_speech(), corpus, bold)
        state = RefinementState.start(run.encoder)
        run.listen_(state, silent)
        rates = []
        for step in range(bold.steps):
            run.step_(state)
            share = share_of_peak(step, bold.steps, warm_up=WARM_UP)
            rates.append(run.optimizer.param_groups[0]["lr"] / (3.0 * share))
            if state.step % bold.check_every == 0:
                assert all(
                    torch.equal(before[n], w) for n, w in copies(speech.model.get_encoder()).items()
                )
    assert rates == pytest.approx([1, 1, 1 / 2, 1 / 2, 1 / 4, 1 / 4])
    assert state.setbacks == 3


def test_the_average_follows_the_weights_and_smooths_their_jumps() -> None:
    layer = torch.nn.Linear(3, 2)
    state = RefinementState.start(layer)
    averages = []
    for step in range(1, 401):
        state.step = step
        with torch.no_grad():
            layer.weight.fill_(5.0 + (-1) ** step)
        state.average_(layer)
        averages.append(float(state.average["weight"].mean()))
    assert averages[0] == pytest.approx(4.0, abs=0.5), "what it began with is soon forgotten"
    assert averages[-1] == pytest.approx(5.0, abs=0.05)
    state.check_(layer, 1.0, None)
    assert torch.equal(state.best["weight"], state.average["weight"])
    state.average_(layer)
    assert not torch.equal(state.best["weight"], state.average["weight"])


def test_an_interrupted_check_leaves_the_weights_as_they_were() -> None:
    layer = torch.nn.Linear(3, 2)
    own, other = copies(layer), {name: w + 1 for name, w in copies(layer).items()}
    with exchanged_(layer, other):
        assert torch.equal(layer.weight, other["weight"])
    with pytest.raises(KeyboardInterrupt), exchanged_(layer, other):
        raise KeyboardInterrupt
    assert torch.equal(layer.weight, own["weight"])


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


def test_the_decoder_says_again_what_it_said(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    original = make_speech()
    learning = [p for p in original.model.parameters() if p.requires_grad]
    longer = replace(LISTENING, steps=40, batch_size=2, check_every=20)
    report = refine_(reduced(), original, corpus, longer)
    divergences = [point.kl for point in report.curve]
    assert divergences[0] > 0
    assert divergences[-1] < 0.8 * divergences[0]
    assert all(p.requires_grad and p.grad is None for p in learning), "the original learns nothing"


def test_divergence_is_that_of_the_logits(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    original, speech, said = make_speech(), reduced(), Said((257, 258), (40, 41, 42))
    objective = Objective(
        original.model, block_weight=0.0, divergence_weight=1.0, forcing=forcing_for(original)
    )
    adapter = adapter_for(speech.model)
    window = next(adapter.inputs(speech.processor, corpus[0].load())).tensors
    encoder = speech.model.get_encoder()
    ids = torch.tensor([[*said.prompt, *said.targets[:-1]]])
    p, q = (
        model(**window, decoder_input_ids=ids).logits[0, 1:].log_softmax(-1)
        for model in (original.model, speech.model)
    )
    expected = (p.exp() * (p - q)).sum(-1).mean()
    found = objective(encoder, window, [said])
    torch.testing.assert_close(found.kl, expected.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.loss.detach(), found.error + found.kl)
    assert objective(encoder, window, [None]).kl == 0
    assert objective(adapter.encoder(original.model), window, [said]).kl.abs() < 1e-6


def test_what_is_attended_is_that_of_the_decoder(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    original, speech, said = make_speech(), reduced(), Said((257, 258), (40, 41, 42))
    objective, without = (
        Objective(
            original.model, block_weight=0.0, divergence_weight=1.0, attended_weight=weight,
            forcing=forcing_for(original),
        )
        for weight in (2.0, 0.0)
    )  # fmt: skip
    adapter = adapter_for(speech.model)
    window = next(adapter.inputs(speech.processor, corpus[0].load())).tensors
    attentions = [layer.encoder_attn for layer in original.model.get_decoder().layers]
    ids = torch.tensor([[*said.prompt, *said.targets[:-1]]])
    errors, kept = [], []
    for encoder in (speech.model.get_encoder(), original.model.get_encoder()):
        with ExitStack() as hooks:
            for attention in attentions:
                hook = attention.register_forward_hook(lambda m, i, out: kept.append(out[0]))
                hooks.enter_context(hook)
            original.model(encoder_outputs=(encode(encoder, window),), decoder_input_ids=ids)
    for mine, theirs in zip(kept[: len(attentions)], kept[len(attentions) :], strict=True):
        errors.append((mine - theirs)[:, 1:].square().sum() / theirs[:, 1:].square().sum())
    encoder = speech.model.get_encoder()
    found = objective(encoder, window, [said]).loss - without(encoder, window, [said]).loss
    torch.testing.assert_close(found, 2 * torch.stack(errors).mean(), rtol=1e-4, atol=1e-7)
    assert found > 0
    assert objective(encoder, window, [None]).loss == without(encoder, window, [None]).loss


def test_frames_of_ctc_are_held_to_without_tokens(corpus: Corpus) -> None:
    original, speech = tiny_wav2vec2(), tiny_wav2vec2()
    encoder = adapter_for(speech.model).encoder(speech.model)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    report = refine_(speech, original, corpus, replace(LISTENING, steps=4))
    assert report.curve[-1].kl < report.curve[0].kl  # type: ignore[operator]


def test_tokens_count_alike_whatever_window_they_are_in(tiny_speech, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    forcing = forcing_for(tiny_speech)
    adapter = adapter_for(tiny_speech.model)
    window = next(adapter.inputs(tiny_speech.processor, corpus[0].load()))
    texts = [Said((1,), (5, 6, 7)), None, Said((1,), (5,))]
    windows = [TrainingWindow(input=window, said=said) for said in texts]
    assert text_shares(windows, forcing) == [0.75, 0.0, 0.25]
    assert text_shares(windows[1:2], forcing) == [0.0]
    assert text_shares(windows[:2], None) == [0.5, 0.5]


def test_an_encoder_without_a_decoder_learns_its_output_alone(  # type: ignore[no-untyped-def]
    reduced, make_speech, corpus: Corpus, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def unknown(_: SpeechModel) -> None:
        raise UnsupportedModelError("no runtime can decode it")

    monkeypatch.setattr(material, "forcing_for", unknown)
    report = refine_(reduced(), make_speech(), corpus, replace(LISTENING, steps=2))
    assert "the encoder's output alone: no runtime can decode it" in caplog.text
    assert {point.kl for point in report.curve} == {None}


def test_a_batch_is_the_mean_of_its_windows(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    original, speech = make_speech(), reduced()
    objective = Objective(
        original.model, block_weight=0.1, divergence_weight=1.0, attended_weight=1.0,
        forcing=forcing_for(original),
    )  # fmt: skip
    said = [Said((257,), tuple(range(40, 42 + k))) for k in range(len(corpus))]
    adapter, encoder = adapter_for(speech.model), speech.model.get_encoder()
    windows = [next(adapter.inputs(speech.processor, u.load())).tensors for u in corpus]
    alone = [
        torch.stack(objective(encoder, window, [text])).detach()
        for window, text in zip(windows, said, strict=True)
    ]
    batch = {"input_features": torch.cat([w["input_features"] for w in windows])}
    together = torch.stack(objective(encoder, batch, said)).detach()
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-6)


def test_one_utterance_is_not_enough(make_speech, reduced, corpus: Corpus) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RefinementError, match="2 utterances or more"):
        refine_(reduced(), make_speech(), corpus.sample(1), QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"mlp_steps": -1}, "mlp_steps must be at least 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
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
    shares = [share_of_peak(step, 100, warm_up=0.05) for step in range(100)]
    assert shares[0] == pytest.approx(0.2)
    assert max(shares) == 1.0
    assert shares[5:] == sorted(shares[5:], reverse=True)
    assert shares[-1] < 1e-3


def test_a_close_start_is_given_a_small_learning_rate() -> None:
    peaks = [RefinementConfig().peak(start) for start in (1.0, 0.06, 0.02)]
    assert peaks == pytest.approx([1e-4, 3e-5, 1e-5])
    assert RefinementConfig(learning_rate=5e-4).peak(0.02) == 5e-4


def test_the_rate_that_nobody_named_is_used(
    make_speech, reduced, corpus: Corpus, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def noting(optimizer: torch.optim.AdamW) -> object:
        rates.extend(group["lr"] for group in optimizer.param_groups)
        return step(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    config = replace(QUICK, steps=1, learning_rate=None, mlp_steps=0)
    report = refine_(reduced(), make_speech(), corpus, config)
    assert rates == [config.peak(report.before)]


def test_refined_layers_still_run(make_speech, reduced, corpus: Corpus, babble) -> None:  # type: ignore[no-untyped-def]
    speech = reduced()
    refine_(speech, make_speech(), corpus, replace(QUICK, steps=1))
    adapter = adapter_for(speech.model)
    (window,) = adapter.inputs(speech.processor, babble(3, 2.0))
    assert torch.isfinite(run_encoder(speech.model.get_encoder(), window)).all()
