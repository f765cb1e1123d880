"""--runtime, --encoder, --compute-type, --context and --device."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteasr.cli import runtime_options
from liteasr.cli.screen import Screen

Run = Callable[..., tuple[int, str, str]]


def test_the_named_runtime_and_context_transcribe(run: Run, model: Path, recordings: Path) -> None:
    for context, encoder in (("off", "torch"), ("64", "auto")):
        code, out, err = run(
            "transcribe", recordings / "clip-0.wav", "--model", model, "--language", "en",
            "--runtime", "transformers", "--encoder", encoder, "--context", context, "--json", "-q",
        )  # fmt: skip
        assert code == 0, err
        assert json.loads(out)[0]["duration_s"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--context", "-3"), "context must be 'auto', 'off' or positions"),
        (("--pooling", "0"), "pooling must be 'auto' or how many"),
        (("--pooling", "off"), "pooling must be 'auto' or how many"),
        (("--context", "none"), "context must be 'auto', 'off' or positions"),
        (("--runtime", "transformers", "--encoder", "onnx"), "are of the runtime"),
        (("--runtime", "whisper.cpp"), "whisper.cpp"),
        (("--device", "gpu"), "device must be 'auto', 'cpu' or one such as 'cuda:0'"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    run: Run, model: Path, recordings: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, err = run("transcribe", recordings / "clip-0.wav", "--model", model, *options)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "auto"),
        ({"device": "cuda:1"}, "cuda:1"),
        ({"runtime": "faster-whisper"}, "cpu"),
        ({"batch_size": 4}, "cpu"),
    ],
)
def test_a_gpu_is_taken_but_for_what_works_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], expected: str
) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr(runtime_options, "load_transcriber", lambda _, **kinds: found.update(kinds))
    options = {"runtime": "auto", "encoder": "auto", "compute_type": "auto", "batch_size": None}
    runtime_options.open_transcriber(
        "whisper-base", **{**options, "device": None, **given}, screen=Screen(quiet=True)
    )
    assert found["device"] == expected


def test_a_runtime_that_cannot_serve_is_exit_code_1(
    run: Run, model: Path, recordings: Path
) -> None:
    clip = recordings / "clip-0.wav"
    code, _, err = run("transcribe", clip, "--model", model, "--runtime", "faster-whisper")
    assert code == 1
    assert "use the runtime 'transformers'" in err
