"""MLPs that learn alone what the original ones do."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from liteasr.calibration import calibrate
from liteasr.calibration.readings import Reader
from liteasr.compression import compress_
from liteasr.corpus import Corpus
from liteasr.encoders import adapter_for, pool_positions_, run_encoder
from liteasr.lowrank import Metric
from liteasr.plan import LayerPlan, RankPlan, spectra_of
from liteasr.refinement import RefinementConfig, mlps, refine_, session, streams
from liteasr.refinement.metrics import metrics_of
from liteasr.refinement.mlps import fit_mlp
from liteasr.refinement.pieces import Said
from liteasr.refinement.state import RefinementState
from liteasr.refinement.streams import Mlp, Seen, Streams, Vectors, reduced_mlps
from liteasr.refinement.weights import copies
from liteasr.refinement.windows import TrainingWindow
from liteasr.runtime import Listener
from liteasr.runtime.forcing import Forcing, WhisperForcing, forcing_for
from liteasr.sources import SpeechModel
from stopping import Interruption
from tiny_ctc import tiny_wav2vec2

ALONE = RefinementConfig(
    steps=0, mlp_steps=40, divergence_weight=0.0, precision="float32", check_every=1
)
STATE = "refinement.safetensors"
PLAIN = torch.eye(8)  # every error of an output counts alike
Make = Callable[..., SpeechModel]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (session, streams):
        monkeypatch.setattr(module, "WINDOWS", 6)


@pytest.fixture
def reduced(make_short_speech: Make, corpus: Corpus) -> Callable[[], SpeechModel]:
    """Every MLP with 32 of its units; attention as it was."""

    def make() -> SpeechModel:
        speech = make_short_speech()
        forms: dict[str, Any] = {}
        for site in adapter_for(speech.model).mlps(speech.model.get_encoder()):
            forms |= {site.first: ("units_out", 32), site.second: ("units_in", 32)}
        targets = adapter_for(speech.model).targets(speech.model.get_encoder())
        layers = tuple(LayerPlan.of(t, *forms.get(t.name, ("dense", None))) for t in targets)
        plan = RankPlan(model=speech.name, rule="test", layers=layers)
        compress_(speech, plan, spectra_of(speech, calibrate(speech, corpus)))
        return speech

    return make


def plain(units: int, seed: int) -> Mlp:
    torch.manual_seed(seed)
    mlp = Mlp.__new__(Mlp)
    nn.Module.__init__(mlp)
    mlp.first, mlp.activation, mlp.second = nn.Linear(8, units), nn.GELU(), nn.Linear(units, 8)
    return mlp


def known(vectors: torch.Tensor) -> Vectors:
    """Nothing is lacking beside what the original gives."""
    return Vectors(vectors, torch.zeros_like(vectors))


def test_it_learns_what_holds_for_other_vectors_too() -> None:
    teacher, student = plain(64, 0), plain(48, 1)
    with torch.no_grad():  # a quarter of the units is gone
        student.first.weight.copy_(teacher.first.weight[:48])
        student.first.bias.copy_(teacher.first.bias[:48])
        student.second.weight.copy_(teacher.second.weight[:, :48])
        student.second.bias.copy_(teacher.second.bias)
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    some, others = torch.randn(2000, 8), torch.randn(500, 8)
    seen = Seen(audio=known(some), padding=known(0.1 * some[:50]))
    fitted = fit_mlp(student, teacher, seen, PLAIN, steps=300, seed=0)
    again = fit_mlp(student, teacher, seen, PLAIN, steps=300, seed=0)
    for name, weight in student.state_dict().items():
        assert torch.equal(weight, before[name]), "the student itself is not changed"
        assert torch.equal(fitted[name], again[name])
    with torch.no_grad():
        expected = teacher(others)
        energy = expected.var(dim=0).sum()
        wrong = (student(others) - expected).square().sum(dim=1).mean() / energy
        student.load_state_dict(fitted)
        left = (student(others) - expected).square().sum(dim=1).mean() / energy
    assert left < 0.5 * wrong
    assert not any(p.grad is not None for p in teacher.parameters())


def test_what_lies_between_vectors_is_learned_where_they_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher, student = plain(64, 0), plain(48, 1)
    chance = torch.Generator().manual_seed(1)
    some = torch.randn(6, 8, generator=chance)
    seen = Seen(known(some.repeat(200, 1)), known(torch.empty(0, 8)))
    shares = 0.5 * torch.rand(6, 6, 1, generator=chance)
    between = some[:, None] + shares * (some[:, None] - some)

    def error() -> float:
        learned = copy.deepcopy(student)
        learned.load_state_dict(fit_mlp(student, teacher, seen, PLAIN, steps=300, seed=0))
        with torch.no_grad():
            return float((learned(between) - teacher(between)).square().mean())

    few = error()
    monkeypatch.setattr(mlps, "FEW", 10)
    assert few < error(), "twelve hundred are many now, and learned as they are"


def test_one_kind_of_position_is_enough() -> None:
    teacher, student = plain(32, 0), plain(16, 1)
    some, none = known(torch.randn(100, 8)), known(torch.empty(0, 8))
    for seen in (Seen(some, none), Seen(none, some)):
        fitted = fit_mlp(student, teacher, seen, PLAIN, steps=3, seed=0)
        assert all(torch.isfinite(weight).all() for weight in fitted.values())


def test_a_close_start_takes_small_steps() -> None:
    teacher = plain(32, 0)
    seen = Seen(known(torch.randn(4000, 8)), known(torch.empty(0, 8)))
    moved, errors = [], []
    for noise in (1e-1, 1e-2):
        student = plain(32, 0)
        with torch.no_grad():
            student.second.weight.add_(noise * student.second.weight)
        x = seen.audio.entering
        with torch.no_grad():
            y = teacher(x)
            wrong = (student(x) - y).square().sum(dim=1).mean() / y.var(dim=0).sum()
        fitted = fit_mlp(student, teacher, seen, PLAIN, steps=1, seed=0)
        steps = (fitted[name] - weight for name, weight in student.state_dict().items())
        moved.append(max(float(step.abs().max()) for step in steps))
        errors.append(float(wrong))
    # AdamW moves a weight by the rate in its first step
    assert moved == pytest.approx([min(8e-4, error / 100) for error in errors], rel=0.2)


def test_what_is_lacking_is_learned_too() -> None:
    teacher = plain(32, 0)
    x = torch.randn(4000, 8)
    seen = Seen(Vectors(x, torch.full_like(x, 0.05)), known(torch.empty(0, 8)))
    student = plain(32, 0)
    student.load_state_dict(fit_mlp(student, teacher, seen, PLAIN, steps=300, seed=0))
    with torch.no_grad():
        moved = (student(x) - teacher(x)).mean(dim=0)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.05), atol=0.01, rtol=0)


def test_an_mlp_too_small_for_all_keeps_what_is_heard() -> None:
    teacher, student = plain(64, 0), plain(4, 1)
    seen = Seen(known(torch.randn(4000, 8)), known(torch.empty(0, 8)))
    heard = torch.diag(torch.tensor([3.0] * 2 + [0.3] * 6))
    x = torch.randn(1000, 8)
    wrong = {}
    for name, metric in (("plain", PLAIN), ("heard", heard)):
        learned = copy.deepcopy(student)
        learned.load_state_dict(fit_mlp(student, teacher, seen, metric, steps=300, seed=0))
        with torch.no_grad():
            wrong[name] = (learned(x) - teacher(x)).square().mean(dim=0)
    assert wrong["heard"][:2].sum() < 0.9 * wrong["plain"][:2].sum()
    assert wrong["heard"][2:].sum() > wrong["plain"][2:].sum()


def test_what_is_heard_of_mlps_is_what_a_calibration_reads(
    make_short_speech: Make, corpus: Corpus
) -> None:
    original = make_short_speech()
    adapter, encoder = adapter_for(original.model), original.model.get_encoder()
    sites = adapter.mlps(encoder)[1:]
    inputs = [next(iter(adapter.inputs(original.processor, one.load()))) for one in corpus]
    name = sites[0].second

    def found(forcing: Forcing | None, texts: list[Any]) -> torch.Tensor:
        windows = [TrainingWindow(input=i, said=s) for i, s in zip(inputs, texts, strict=True)]
        metrics = metrics_of(sites, original, forcing, [(window, "en") for window in windows])
        assert metrics.keys() == {name}, "only those that were asked for"
        return metrics[name]

    forcing = forcing_for(original)
    unknown = [None] * len(inputs)
    for listen, metric in (
        (None, found(None, unknown)),
        (Listener(forcing), found(forcing, unknown)),
    ):
        reader = Reader.of(original, adapter, encoder, listen)
        parts = [
            reader.read(encoder, window, seed=seed, language="en")[name]
            for seed, window in enumerate(inputs)
        ]
        torch.testing.assert_close(metric, Metric.of(reduce(add, parts)).root.float())
    assert not torch.allclose(found(None, unknown), metric)
    texts = [
        Said(*forcing.listen(run_encoder(encoder, window), window.duration_s, "en"))
        for window in inputs
    ]
    forcing.listen = pytest.fail  # type: ignore[method-assign]
    assert torch.equal(found(forcing, texts), metric), "nothing is listened to again"


def walk(speech: SpeechModel, original: SpeechModel, corpus: Corpus) -> Streams:
    adapter = adapter_for(speech.model)
    windows = [next(iter(adapter.inputs(speech.processor, one.load()))) for one in corpus][:6]
    return Streams(adapter, speech.model.get_encoder(), original.model.get_encoder(), windows)


@torch.no_grad()
def test_what_a_stream_lacks_is_what_is_between_the_blocks_outputs(
    make_short_speech: Make, reduced: Make, corpus: Corpus
) -> None:
    speech, original = reduced(), make_short_speech()
    walked = walk(speech, original, corpus)
    adapter, teacher = walked.adapter, walked.teacher
    blocks = [adapter.blocks(teacher)[number] for number in (0, 1)]
    sites = adapter.mlps(teacher)
    walked.advance_()
    seen = walked.see(sites[1])
    valid = sum(walked.valid)
    assert len(seen.audio.entering) == valid
    assert len(seen.padding.entering) == 6 * adapter.positions(teacher) - valid
    for encoder, inner in ((walked.student, walked.mine), (teacher, walked.theirs)):
        outputs: list[torch.Tensor] = []
        window = next(iter(adapter.inputs(speech.processor, corpus[0].load())))
        with encoder.get_submodule(blocks[0]).register_forward_hook(
            lambda _, x, y, found=outputs: found.append(y[0] if isinstance(y, tuple) else y)
        ):
            run_encoder(encoder, window)
        assert torch.equal(inner[0], outputs[0]), "blocks behind it change nothing"
    mine, theirs = Mlp(walked.student, sites[1]), Mlp(teacher, sites[1])
    x, lacking = seen.audio
    walked.advance_()
    first = walked.valid[0]
    gap = walked.theirs[0][0, :first] - walked.mine[0][0, :first]
    wanted = mine(x[:first]) + gap - theirs(x[:first])
    torch.testing.assert_close(lacking[:first], 0.5 * wanted, rtol=1e-4, atol=1e-5)


def test_where_a_block_does_more_than_add_nothing_is_said_to_be_lacking(corpus: Corpus) -> None:
    speech, original = tiny_wav2vec2(), tiny_wav2vec2()
    encoder = adapter_for(speech.model).encoder(speech.model)
    site = adapter_for(speech.model).mlps(encoder)[0]
    with torch.no_grad():
        encoder.get_submodule(site.second).weight.mul_(0.5)
    adapter = adapter_for(speech.model)
    windows = [next(iter(adapter.inputs(speech.processor, one.load()))) for one in corpus]
    walked = Streams(adapter, encoder, adapter.encoder(original.model), windows)
    seen = walked.see(site)
    assert len(seen.audio.entering)
    assert not site.ends_block
    assert not seen.audio.lacking.any()


def test_pooled_positions_are_compared_with_pairs_of_the_original(
    make_short_speech: Make, corpus: Corpus
) -> None:
    speech = make_short_speech()
    pool_positions_(speech.model, 1)
    walked = walk(speech, make_short_speech(), corpus)
    walked.advance_()
    seen = walked.see(walked.adapter.mlps(walked.teacher)[1])
    assert len(seen.audio.entering) == sum(-(-valid // 2) for valid in walked.valid)
    assert seen.audio.lacking.any(), "attention to means is not the mean of attentions"
    walked.advance_()
    assert walked.mine[0].shape[1] == walked.theirs[0].shape[1] // 2


def test_few_vectors_are_kept(
    make_short_speech: Make, reduced: Make, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked = walk(reduced(), make_short_speech(), corpus)
    site = walked.adapter.mlps(walked.teacher)[0]
    every = walked.see(site)
    monkeypatch.setattr(streams, "VECTORS", len(every.audio.entering) // 4)
    quarter = walked.see(site)
    assert torch.equal(quarter.audio.entering[:2], every.audio.entering[[0, 4]])
    for kept, all_ in zip(quarter, every, strict=True):
        assert 0 < len(kept.entering) < 0.4 * len(all_.entering), "padding takes none from audio"


def test_nothing_is_lacking_without_a_reduction(make_short_speech: Make, corpus: Corpus) -> None:
    walked = walk(make_short_speech(), make_short_speech(), corpus)
    seen = walked.see(walked.adapter.mlps(walked.teacher)[0])
    assert seen.audio.lacking.abs().max() < 1e-5


def test_dense_mlps_are_left_alone(make_short_speech: Make, reduced: Make) -> None:
    dense, small = make_short_speech(), reduced()
    adapter, teacher = adapter_for(dense.model), dense.model.get_encoder()
    assert reduced_mlps(adapter, make_short_speech().model.get_encoder(), teacher) == ()
    encoder = small.model.get_encoder()
    assert reduced_mlps(adapter, encoder, teacher) == adapter.mlps(teacher)
    encoder.layers[0].fc1 = dense.model.get_encoder().layers[0].fc1
    encoder.layers[0].fc2 = dense.model.get_encoder().layers[0].fc2
    assert reduced_mlps(adapter, encoder, teacher) == adapter.mlps(teacher)[1:]


def test_the_encoder_comes_nearer_without_one_step_of_the_whole(
    make_short_speech: Make, reduced: Make, corpus: Corpus
) -> None:
    speech = reduced()
    before = copies(speech.model.get_encoder())
    report = refine_(speech, make_short_speech(), corpus, ALONE)
    assert [point.step for point in report.curve] == [0, 0]
    assert report.after < 0.9 * report.before
    for name, weight in copies(speech.model.get_encoder()).items():
        assert torch.equal(weight, before[name]) == (".fc" not in name), name


def test_the_time_that_they_take_is_told(
    make_short_speech: Make, reduced: Make, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = [0]

    def slow(student: Mlp, *_: object, **__: object) -> dict[str, torch.Tensor]:
        minutes[0] += 1
        return student.state_dict()

    monkeypatch.setattr(mlps, "fit_mlp", slow)
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: 60 * minutes[0]))
    report = refine_(reduced(), make_short_speech(), corpus, ALONE)
    assert report.seconds == 60 * minutes[0] > 0


@pytest.mark.parametrize(("steps", "heard"), [(0, 1 + 5), (1, 6)])
def test_only_what_is_held_to_a_text_is_listened_to(
    make_short_speech: Make,
    reduced: Make,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    heard: int,
) -> None:
    texts = []
    listen = WhisperForcing.listen
    monkeypatch.setattr(
        WhisperForcing, "listen", lambda *args: texts.append(listen(*args)) or texts[-1]
    )
    config = replace(ALONE, steps=steps, mlp_steps=1, batch_size=1, divergence_weight=0.1)
    report = refine_(reduced(), make_short_speech(), corpus, config)
    assert len(texts) == heard
    assert report.curve[0].kl > 0


def test_steps_of_the_whole_go_on_from_there(
    make_short_speech: Make, reduced: Make, corpus: Corpus
) -> None:
    config = replace(ALONE, steps=2, batch_size=1)
    report = refine_(reduced(), make_short_speech(), corpus, config)
    assert [point.step for point in report.curve] == [0, 0, 1, 2]


def test_mlps_that_learned_nothing_good_are_put_back(
    make_short_speech: Make, reduced: Make, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(student: Mlp, *_: object, **__: object) -> dict[str, torch.Tensor]:
        return {name: 9 * weight for name, weight in student.state_dict().items()}

    monkeypatch.setattr(mlps, "fit_mlp", spoiled)
    states = []
    start = RefinementState.start
    monkeypatch.setattr(
        RefinementState, "start", lambda encoder: states.append(start(encoder)) or states[0]
    )
    speech = reduced()
    before = copies(speech.model.get_encoder())
    report = refine_(speech, make_short_speech(), corpus, ALONE)
    assert report.after == report.before
    assert states[0].setbacks == 0, "the steps that follow are as long as ever"
    for name, weight in copies(speech.model.get_encoder()).items():
        assert torch.equal(weight, before[name])


# six recordings are read, five windows made and heard, two blocks fitted, three steps taken
@pytest.mark.parametrize("after", [9, 14, 17, 19])
def test_an_interruption_changes_nothing(
    make_short_speech: Make, reduced: Make, corpus: Corpus, tmp_path: Path, after: int
) -> None:
    config = replace(ALONE, steps=3, batch_size=1)
    straight, again = reduced(), reduced()
    expected = refine_(straight, make_short_speech(), corpus, config)
    with pytest.raises(KeyboardInterrupt):
        refine_(
            again, make_short_speech(), corpus, config, path=tmp_path / STATE,
            track=Interruption(after),
        )  # fmt: skip
    report = refine_(again, make_short_speech(), corpus, config, path=tmp_path / STATE)
    assert report.curve == expected.curve
    for name, weight in copies(again.model.get_encoder()).items():
        assert torch.equal(weight, copies(straight.model.get_encoder())[name])
