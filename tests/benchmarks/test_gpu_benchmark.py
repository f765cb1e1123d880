"""The GPU benchmark runs anywhere at a toy size, and its models have the sizes they claim."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from liteasr.encoders import encoder_parameters

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_tiny_run_on_a_cpu_says_what_ran_and_what_did_not(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--tiny"]
    options = ["--forms", "dense", "0.5", "--dtypes", "bfloat16", "--output", output]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(output.read_text())["runs"]
    rows = run["rows"]
    assert {row["section"] for row in rows} == {
        "attention", "folded attention", "encoder", "end to end"
    }  # fmt: skip
    assert all(("ms" in row) != ("not_run" in row) for row in rows)
    for row in rows:
        needs_gpu = "graph" in row["name"] or "triton" in (row["name"], row.get("backend"))
        assert not (needs_gpu and "ms" in row), row
    reasons = {row["not_run"] for row in rows if "not_run" in row}
    assert all("it needs a GPU" in reason or "need an NVIDIA GPU" in reason for reason in reasons)
    assert all(row["share_of_peak"] > 0 for row in rows if "gflop" in row)
    errors = [row["relative_error"] for row in run["parity"] if "relative_error" in row]
    assert len(errors) == 4
    assert max(errors) < 0.02


@pytest.mark.parametrize(
    ("model", "form", "millions"),
    [
        ("large-v3", "dense", 635), ("large-v3", "published", 377), ("turbo", "published", 421),
        ("turbo", "0.35", 0.35 * 635),
    ],
)  # fmt: skip
def test_encoders_have_the_sizes_they_claim(
    model: str, form: str, millions: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from gpu_models import SHAPES, build, reduce_

    recognizer = build(SHAPES[model], "meta", torch.float16)
    if form != "dense":
        reduce_(recognizer, SHAPES[model], form)
    assert encoder_parameters(recognizer) / 1e6 == pytest.approx(millions, rel=0.015)
