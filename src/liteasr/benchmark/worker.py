"""A process of its own for each measurement: ``python -m liteasr.benchmark.worker FOLDER``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from liteasr.benchmark.backends import BackendSpec, open_backend
from liteasr.benchmark.memory import peak_bytes
from liteasr.benchmark.stopwatch import matmul_peak, take_turns
from liteasr.checkpoint import load_model
from liteasr.errors import EvaluationError, LiteASRError
from liteasr.plan.flops import count_flops

__all__ = ["launch", "main", "work"]

Waveform = Float[np.ndarray, "samples"]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def launch(job: Mapping[str, Any], clips: Sequence[Waveform] = ()) -> dict[str, Any]:
    """Do a job in a new process, which holds nothing else.

    Raises:
        EvaluationError: The process failed; its last words are in the message.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, clip in enumerate(clips):
            np.save(folder / f"{number:04d}.npy", clip)
        (folder / "job.json").write_text(json.dumps({**job, "clips": len(clips)}))
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(job["threads"]))}
        ran = subprocess.run(
            [sys.executable, "-m", "liteasr.benchmark.worker", str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        result = folder / "result.json"
        if ran.returncode != 0 or not result.is_file():
            words = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
            raise EvaluationError(words[-1])
        found: dict[str, Any] = json.loads(result.read_text())
    if "error" in found:
        raise EvaluationError(found["error"])
    return found


def main() -> None:
    """Do the job in a folder; errors of ours are results."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    clips = [np.load(folder / f"{number:04d}.npy") for number in range(job["clips"])]
    try:
        found = work(job, clips)
    except (LiteASRError, ValueError, OSError) as error:
        found = {"error": " ".join(str(error).split())}
    (folder / "result.json").write_text(json.dumps(found))


def work(job: Mapping[str, Any], clips: Sequence[Waveform]) -> dict[str, Any]:
    """Measure times of backends in turn, memory of one, FLOPs of a model, or the peak."""
    torch.set_num_threads(job["threads"])
    kind = job["kind"]
    if kind == "peak":
        return {"flops_per_s": matmul_peak(size=job["size"])}
    specs = [BackendSpec(**spec) for spec in job["specs"]]
    if kind == "flops":
        return {"flops": count_flops(load_model(specs[0].model).model).total}
    backends = [open_backend(spec) for spec in specs]
    if kind == "memory":
        backends[0].transcribe(clips[0])
        return {"bytes": peak_bytes(), "unshown": dict(backends[0].unshown)}
    return {"readings": [asdict(one) for one in take_turns(backends, clips, rounds=job["rounds"])]}


if __name__ == "__main__":
    main()
