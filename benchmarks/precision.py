"""What int8 and bfloat16 cost in words, and shorter contexts: every clip through the hybrid.

Rows: each model in each form. The differences are to the first form of the same model. Clips are
the scored ones of `compression.py`. Run it again to go on after an interruption.

    python benchmarks/precision.py --corpus CORPUS ... --model dense=whisper-base
        --model half=CHECKPOINT --form onnx:float32 --form onnx-int8:int8
        --form onnx-int8:int8:context=64 --output RESULTS.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from comparison import scores

import liteasr
from liteasr.atomic import write_text
from liteasr.cli.runtime_options import parse_context, parse_pooling
from liteasr.cli.screen import Screen
from liteasr.corpus import parts

PARSERS = {"context": parse_context, "pooling": parse_pooling}


def main() -> None:
    """Run it and print one line per row."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    screen = Screen()
    screen.start_logging()
    _, scored = parts(arguments.corpus, arguments.languages, arguments.calibration)
    facts = {
        "scored": {"utterances": len(scored), "sha256": scored.fingerprint()},
        "decoding": "greedy, no fallback, no timestamps, language as the corpus says",
    }
    rows: list[dict[str, Any]] = []
    if arguments.output.is_file():
        found = json.loads(arguments.output.read_text())
        if found["facts"] != facts:
            raise SystemExit(f"{arguments.output} holds results of other clips: move it away")
        rows = found["rows"]
    for named in arguments.model:
        name, ref = named.split("=", 1)
        for form in arguments.form:
            if any(row["model"] == name and row["form"] == form for row in rows):
                continue
            first = next((row["scores"] for row in rows if row["model"] == name), None)
            encoder, compute_type, options = read_form(form)
            transcriber = liteasr.load_transcriber(
                ref, runtime="faster-whisper", encoder=encoder, compute_type=compute_type
            )
            score, environment = scores(transcriber, scored, first, screen, **options)
            print(name, form, {k: f"{v['rate']:.2%}" for k, v in score.items()}, flush=True)
            rows.append({"model": name, "form": form, "scores": score})
            result = {"facts": facts, "environment": environment, "rows": rows}
            write_text(arguments.output, json.dumps(result, indent=1) + "\n")


def read_form(text: str) -> tuple[Any, str, dict[str, Any]]:
    """ENCODER:COMPUTE_TYPE, and options such as context=64."""
    encoder, compute_type, *more = text.split(":")
    pairs = dict(one.split("=", 1) for one in more)
    return encoder, compute_type, {name: PARSERS[name](value) for name, value in pairs.items()}


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--calibration", type=int, default=30, help="clips of each, at most")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=MODEL")
    parser.add_argument("--form", action="append", required=True, metavar="ENCODER:COMPUTE_TYPE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
