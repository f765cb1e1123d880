"""From the command to the text, imports included: what a script waits for that calls us once.

Every command is a process of its own, in turns; the first round fills caches and does not count.

    python benchmarks/cold_start.py CLIP --model half --rounds 7 --threads 2 --output RESULTS.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from cpu_end_to_end import processor
from rich.console import Console
from rich.progress import track

import liteasr
from liteasr.atomic import write_text
from liteasr.audio import SAMPLE_RATE_HZ, load_audio
from liteasr.export import export_ctranslate2

PACKAGES = ("liteasr", "faster-whisper", "ctranslate2", "onnxruntime", "openvino", "transformers")

FASTER_WHISPER = """
import sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=int(sys.argv[3]))
segments, _ = model.transcribe(sys.argv[2], beam_size=1, language="en")
print("".join(segment.text for segment in segments))
"""
TRANSFORMERS = """
import sys, torch
from faster_whisper import decode_audio
from transformers import pipeline
torch.set_num_threads(int(sys.argv[3]))
hear = pipeline("automatic-speech-recognition", sys.argv[1])
print(hear(decode_audio(sys.argv[2]), generate_kwargs={"language": "en"})["text"])
"""


def main() -> None:
    """Run it, print a table and keep it."""
    arguments = parsed()
    commands = {**ours(arguments), **theirs(arguments)}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    said: dict[str, str] = {}
    env = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    rounds = track(range(arguments.rounds + 1), "Rounds", console=Console(stderr=True))
    for number in rounds:
        for name in list(commands)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            done = subprocess.run(
                commands[name], env=env, capture_output=True, text=True, check=True
            )
            if number:
                seconds[name].append(time.perf_counter() - started)
            said[name] = " ".join(done.stdout.split())
    base = seconds["faster-whisper int8"]
    rows = [
        {
            "name": name,
            "median_s": median(taken),
            "range_s": [min(taken), max(taken)],
            "times_as_fast": median(b / t for b, t in zip(base, taken, strict=True)),
            "text": said[name],
        }
        for name, taken in seconds.items()
    ]
    print("| command | median s | min - max | times as fast as faster-whisper int8 |")
    print("|---|---|---|---|")
    for row in rows:
        low, high = row["range_s"]
        print(
            f"| {row['name']} | {row['median_s']:.2f} | {low:.2f} - {high:.2f} "
            f"| {row['times_as_fast']:.2f} |"
        )
    facts = {
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "clip_s": len(load_audio(arguments.clip)) / SAMPLE_RATE_HZ,
        "processor": processor(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "load_average": os.getloadavg(),
    }
    write_text(arguments.output, json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")


def ours(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The command line, for every model that was named."""
    tail = [str(arguments.clip), "--language", "en", "-q", "--runtime", "faster-whisper"]
    return {
        f"liteasr transcribe --model {Path(model).name}": [
            str(Path(sys.executable).with_name("liteasr")), "transcribe", "--model", model, *tail
        ]
        for model in arguments.model
    }  # fmt: skip


def theirs(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The same weights, dense, in scripts of other packages."""
    dense = liteasr.load_model(arguments.dense)
    place = arguments.work / f"{dense.name}-ctranslate2"
    if not place.is_dir():
        export_ctranslate2(dense, place, quantization="int8")
    given = [str(arguments.clip), str(arguments.threads)]
    commands = {
        "faster-whisper int8": [sys.executable, "-c", FASTER_WHISPER, str(place), *given],
    }
    if arguments.transformers is not None:
        script = [sys.executable, "-c", TRANSFORMERS, str(arguments.transformers), *given]
        commands["transformers"] = script
    return commands


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("clip", type=Path, help="a recording of up to 30 seconds")
    parser.add_argument("--model", action="append", required=True, help="ours")
    parser.add_argument("--dense", default="whisper-base", help="what the others open")
    parser.add_argument("--transformers", type=Path, help="the dense model, as it saves it")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("."), help="a folder for their model")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
