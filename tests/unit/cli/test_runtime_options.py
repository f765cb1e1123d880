"""--runtime, --encoder, --compute-type and --context."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
        (("--context", "none"), "context must be 'auto', 'off' or positions"),
        (("--runtime", "transformers", "--encoder", "onnx"), "are of the runtime"),
        (("--runtime", "whisper.cpp"), "whisper.cpp"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    run: Run, model: Path, recordings: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, err = run("transcribe", recordings / "clip-0.wav", "--model", model, *options)
    assert code == 2
    assert message in err


def test_a_runtime_that_cannot_serve_is_exit_code_1(
    run: Run, model: Path, recordings: Path
) -> None:
    clip = recordings / "clip-0.wav"
    code, _, err = run("transcribe", clip, "--model", model, "--runtime", "faster-whisper")
    assert code == 1
    assert "use the runtime 'transformers'" in err
