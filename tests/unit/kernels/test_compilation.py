"""The kernels compile for real GPUs, also where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[2] / "kernel_compilation.py"
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}  # bytes that one block may have
FOLDED = {
    "QUERY": 32, "KEY": 32, "KEY_TAIL": 16, "VALUE": 32, "VALUE_TAIL": 16, "OUT": 64,
    "FOLD": True, "UNFOLD": True, "MASK": "none", "WIDEN": False, "ROWS": 64, "COLS": 64,
}  # fmt: skip
REQUESTS: list[dict[str, Any]] = [
    {"kernel": "_attention_triton.attention_kernel", "constants": FOLDED,
     "dtype": "bf16", "capability": 90, "warps": 4, "stages": 3},
    {"kernel": "_attention_triton.attention_kernel", "constants": FOLDED,
     "dtype": "fp16", "capability": 80, "warps": 4, "stages": 3},
]  # fmt: skip


def test_kernels_use_tensor_cores_and_spill_no_registers() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    command = [sys.executable, PROGRAM, json.dumps(REQUESTS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for request, made in zip(REQUESTS, json.loads(done.stdout), strict=True):
        assert made["mma"] > 0, request
        assert made["STACK"] == 0, request
        assert made["shared"] <= SHARED_MEMORY[request["capability"]], request
