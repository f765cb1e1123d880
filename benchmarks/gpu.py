"""Whisper large-v3 and turbo on a GPU: kernels, encoders and whole decodings, dense and reduced.

Weights are random, since speed does not depend on them; shapes are exact. Reduced encoders have the
published ranks, or narrower heads and chains at 70, 50 and 35 % of the parameters. Every one runs
as PyTorch runs it, compiled, and recorded as a CUDA graph, with our kernels and without them.

    python benchmarks/gpu.py --speech RECORDING --output RESULTS.json
    python benchmarks/gpu.py --device cpu --tiny --output RESULTS.json     # that it runs at all
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from gpu_encoders import measure_encoder
from gpu_kernels import measure_kernels
from gpu_measure import Bench
from gpu_models import FORMS, SHAPES, build, reduce_
from gpu_parity import parity_on_random, parity_on_speech

from liteasr.atomic import write_text

COLUMNS = ("ms", "iqr_ms", "tflops", "share_of_peak", "share_of_bandwidth", "speedup")


def main() -> None:
    """Measure, print one line per row, write everything after every model."""
    arguments = parsed()
    result: dict[str, Any] = {"environment": environment(arguments.device), "runs": []}
    for name in arguments.dtypes:
        dtype = getattr(torch, name)
        bench = Bench(arguments.device, dtype, arguments.min_run_s, 256 if arguments.tiny else 8192)
        run = {"dtype": name, "limits": bench.limits(), "rows": bench.rows}
        result["runs"].append(run)
        print(name, run["limits"])
        run["parity"] = shown(list(parity(arguments, dtype)))
        for model in arguments.models:
            measure(bench, model, arguments)
            write_text(arguments.output, json.dumps(result, indent=1))
        write_text(arguments.output, json.dumps(result, indent=1))


def measure(bench: Bench, model: str, arguments: argparse.Namespace) -> None:
    """Kernels at every batch size, then the encoder in every form."""
    shape, first = SHAPES[model], len(bench.rows)
    for batch in arguments.batches if arguments.kernels else ():
        measure_kernels(bench, shape, batch)
    shown(bench.rows[first:])
    for form in arguments.forms:
        recognizer = build(shape, arguments.device, bench.dtype)
        if form != "dense":
            reduce_(recognizer, shape, form)
        first = len(bench.rows)
        for batch in arguments.batches:
            measure_encoder(
                bench, recognizer, batch, model=model, form=form,
                compiled=arguments.compile, without=arguments.without, tokens=arguments.tokens,
            )  # fmt: skip
        shown(bench.rows[first:])


def parity(arguments: argparse.Namespace, dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """On random numbers, and on speech where a recording is given."""
    heads, positions = (4, 50) if arguments.tiny else (20, 1500)
    yield from parity_on_random(arguments.device, dtype, heads=heads, positions=positions)
    if arguments.speech:
        yield from parity_on_speech(
            "whisper-base", arguments.speech, arguments.device, dtype, arguments.positions
        )


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print rows, and pass them on."""
    for row in rows:
        told = [f"{row[key]:.4g} {key}" for key in (*COLUMNS, "relative_error") if key in row]
        facts = [str(row[key]) for key in ("model", "form", "batch", "backend") if key in row]
        told = told or [f"not run: {row['not_run'][:90]}"]
        print(" | ".join([row.get("section", "parity"), row["name"], *facts, *told]), flush=True)
    return rows


def environment(device: str) -> dict[str, Any]:
    """What the numbers depend on."""
    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor(),
        "cuda": torch.version.cuda if cuda else None,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("liteasr", "torch", "transformers")},
        "warm_up": "3 calls; medians and interquartile ranges of torch.utils.benchmark",
    }


def parsed() -> argparse.Namespace:
    """The arguments; ``--tiny`` is a smoke test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a toy model in place of the real ones")
    parser.add_argument("--models", nargs="*", choices=SHAPES, default=["large-v3", "turbo"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument(
        "--tokens", type=int, default=64, help="decoded in the end-to-end rows; 0 leaves them out"
    )
    parser.add_argument("--kernels", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--without", action="append", default=[], help="ways to encode to leave out, by a part"
    )
    parser.add_argument("--min-run-s", type=float, default=0.5)
    parser.add_argument("--speech", type=Path, help="a recording, for parity on real activations")
    parser.add_argument(
        "--positions", type=int, default=1500, help="leading ones of that recording"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.models, arguments.batches = arguments.models and ["tiny"], [2]
        arguments.tokens, arguments.min_run_s = min(arguments.tokens, 4), 0.001
    if arguments.compile is None:
        arguments.compile = arguments.device.startswith("cuda")
    return arguments


if __name__ == "__main__":
    main()
