import json
from collections.abc import Callable
from pathlib import Path

import pytest

from liteasr.encoders import encoder_parameters
from tiny_ctc import tiny_wav2vec2
from tiny_parakeet import tiny_parakeet
from tiny_whisper import tiny_whisper

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(whole_model: Path) -> Path:
    return whole_model


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    speech = tiny_wav2vec2()
    folder = tmp_path_factory.mktemp("ctc")
    speech.model.save_pretrained(folder)
    speech.processor.save_pretrained(folder)
    return folder


def test_layers_are_listed_with_what_they_cost(run: Run, model: Path) -> None:
    code, out, _ = run("inspect", model, "-q")
    assert code == 0
    assert "layers.1.fc2" in out
    assert "256 -> 64" in out
    assert "windows of 30 s, 1500 positions" in out
    assert "attentions by head: 2 for values, 2 for scores; MLPs by unit: 2" in " ".join(
        out.split()
    )
    assert "effective rank" not in out


def test_json_holds_the_numbers(run: Run, model: Path) -> None:
    code, out, _ = run("inspect", model, "--json", "-q")
    found = json.loads(out)
    assert code == 0
    assert found["parameters"] == encoder_parameters(tiny_whisper().model)
    layer = found["layers"][4]
    assert layer["name"] == "layers.0.fc1"
    assert layer["parameters"] == 64 * 256 + 256
    assert layer["flops"] == 2 * 1500 * 64 * 256
    assert layer["break_even"] == 64 * 256 / 320
    assert found["units"] == {"layers.0.fc2": 256, "layers.1.fc2": 256}


def test_moments_add_effective_ranks(
    run: Run, model: Path, recordings: Path, tmp_path: Path
) -> None:
    moments = tmp_path / "m.safetensors"
    assert run("calibrate", model, "--audio", recordings, "-o", moments, "--samples", 2)[0] == 0
    code, out, _ = run("inspect", model, "-m", moments, "--json", "-q")
    assert code == 0
    ranks = [layer["effective_rank"] for layer in json.loads(out)["layers"]]
    assert all(1.0 <= rank <= 64.0 for rank in ranks)
    assert "effective rank" in run("inspect", model, "-m", moments, "-q")[1]


def test_reduced_layers_are_shown_as_they_are(
    run: Run, ctc: Path, recordings: Path, tmp_path: Path
) -> None:
    lite = tmp_path / "lite"
    code, _, err = run(
        "compress",
        ctc,
        "--audio",
        recordings,
        "--samples",
        2,
        "--keep",
        0.7,
        "--no-units",
        "-o",
        lite,
    )
    assert code == 0, err
    dense, reduced = (json.loads(run("inspect", m, "--json", "-q")[1]) for m in (ctc, lite))
    assert reduced["parameters"] <= 0.7 * dense["parameters"]
    assert reduced["flops"] < dense["flops"]
    assert "LowRankLinear" in {layer["kind"] for layer in reduced["layers"]}


def test_convolutions_are_layers_too(run: Run, tmp_path: Path) -> None:
    speech = tiny_parakeet()
    speech.model.save_pretrained(tmp_path)
    speech.processor.save_pretrained(tmp_path)
    code, out, err = run("inspect", tmp_path, "-q")
    assert code == 0, err
    line = next(line for line in out.splitlines() if "layers.0.conv.pointwise_conv1" in line)
    assert line.split()[1:] == ["Conv1d", "64", "->", "128", "8,320", "6.1", "43"]


def test_an_encoder_is_chosen_by_name(
    run: Run, ctc: Path, recordings: Path, tmp_path: Path
) -> None:
    chosen = ("--encoder", "wav2vec2", "--pattern", "feed_forward")
    lite = tmp_path / "lite"
    code, out, err = run(
        "compress", ctc, *chosen, "--audio", recordings, "--samples", 2, "--keep", 0.9, "-o", lite
    )
    assert code == 0, err
    code, out, _ = run("inspect", lite, "--json", "-q")
    names = {layer["name"] for layer in json.loads(out)["layers"]}
    assert len(names) == 4
    assert all("feed_forward" in name for name in names)
    clip = recordings / "clip-0.wav"
    assert run("transcribe", clip, "--model", lite)[0] == 0
    refined = tmp_path / "refined"
    code, _, err = run(
        "refine", lite, "--audio", recordings, "--original", ctc, "--steps", 1, "-o", refined
    )
    assert code == 0, err


def test_a_pattern_needs_an_encoder(run: Run, ctc: Path) -> None:
    code, _, err = run("inspect", ctc, "--pattern", "x")
    assert code == 2
    assert "--pattern chooses layers of --encoder" in " ".join(err.split())
