import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liteasr.benchmark import BackendSpec, BenchmarkResults, BenchmarkRow, Spread

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks to be measured."""
    found: dict[str, Any] = {}

    def measure(specs: list[BackendSpec], clips: list[Any], **rest: Any) -> BenchmarkResults:
        found.update(specs=specs, clips=clips, **rest)
        spread = Spread(median=2.0, low=1.0, high=3.0, count=4)
        rows = (
            BenchmarkRow(label="a", backend="liteasr", model="a", encoder_ms=spread, peak_mb=9.0,
                         encoder_flops=2e9, peak_share=0.5),
            BenchmarkRow(label="b", backend="x", model="b", rtf=spread),
        )  # fmt: skip
        machine = {"device": "cpu", "threads": 2, "matmul_peak_gflops": 80.0}
        return BenchmarkResults(rows=rows, skipped={"moonshine": "none"}, machine=machine)

    monkeypatch.setattr("liteasr.cli.benchmark.benchmark", measure)
    return found


def test_models_and_peers_are_measured(
    run: Run, asked: dict[str, Any], recordings: Path, tmp_path: Path
) -> None:
    code, out, err = run(
        "benchmark", "base", "dir/lite", "--audio", recordings, "--samples", 2, "--threads", 2,
        "--peer", "faster-whisper-int8", "--peer", "pywhispercpp=ggml.bin", "-o", tmp_path / "b",
    )  # fmt: skip
    assert code == 0, err
    found = [(spec.kind, spec.model, spec.label, spec.threads) for spec in asked["specs"]]
    assert found == [
        ("liteasr", "base", "base", 2),
        ("liteasr", "dir/lite", "lite", 2),
        ("faster-whisper-int8", "base", "faster-whisper-int8", 2),
        ("pywhispercpp", "ggml.bin", "pywhispercpp", 2),
    ]
    assert len(asked["clips"]) == 2
    assert "2.0 (1.0 - 3.0)" in out
    assert "moonshine left out: none" in " ".join(out.split())
    assert json.loads((tmp_path / "b" / "benchmark.json").read_text())["rows"][0]["label"] == "a"


def test_a_peer_opens_several_models(run: Run, asked: dict[str, Any], recordings: Path) -> None:
    peers = ("--peer", "hybrid", "--peer", "hybrid=lite", "--peer", "moonshine=x")
    code, _, _ = run("benchmark", "m", "--audio", recordings, *peers)
    assert code == 0
    found = [(spec.label, spec.kind, spec.model) for spec in asked["specs"][1:]]
    assert found == [
        ("hybrid", "hybrid", "m"),
        ("hybrid=lite", "hybrid", "lite"),
        ("moonshine", "moonshine", "x"),
    ]


def test_wrong_usage(run: Run, asked: dict[str, Any], recordings: Path) -> None:
    for peers, message in (
        (("--peer", "sparkle"), "must be one of hybrid, "),
        (("--peer", "moonshine=x", "--peer", "moonshine=x"), "named twice"),
    ):
        code, _, err = run("benchmark", "m", "--audio", recordings, *peers)
        assert code == 2
        assert message in " ".join(err.split())
    assert not asked
