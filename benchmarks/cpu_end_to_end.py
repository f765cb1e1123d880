r"""From recordings to text on a CPU: our hybrids beside faster-whisper and others.

    python benchmarks/cpu_end_to_end.py --long TALK_MANIFEST --short CLIPS_MANIFEST \
        --model whisper-base --compressed 50=lite-50 --compressed 35=lite-35 --output RESULTS.json

All systems are in one process and take turns, round after round, each round in another order, so
that whatever else the machine does falls on all of them. One short clip is transcribed by each
before the clock starts. Times are summed over a part (long, short) and compared within a round.
Peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from cpu_systems import Hear, systems, use_threads

import liteasr
from liteasr.atomic import write_text
from liteasr.cli.runtime_options import parse_context, parse_pooling
from liteasr.evaluation import score_utterance
from liteasr.evaluation.error_rate import ErrorCounts

BASELINES = ("faster-whisper fp32", "faster-whisper int8")
PACKAGES = (
    "liteasr", "torch", "transformers", "faster-whisper", "ctranslate2", "onnxruntime", "openvino",
    "openai-whisper", "pywhispercpp", "moonshine-voice",
)  # fmt: skip
SETTLE_S = 0.5  # threads of the system before spin for 0.2 s, on the processors of the next one
Clip = tuple[np.ndarray, str]


def main() -> None:
    """Measure, print a table for each part, keep everything as JSON."""
    arguments = parse()
    use_threads(arguments.threads)
    wanted = [arguments.peak] if arguments.peak else arguments.only
    chosen = [system for system in systems(arguments) if not wanted or system[0] in wanted]
    parts = {
        "long": clips(arguments.long, arguments.long_clips),
        "short": clips(arguments.short, arguments.short_clips),
    }
    if arguments.peak:
        ((_, load),) = chosen
        hear = load()
        for waveform, _ in [clip for part in parts.values() for clip in part]:
            hear(waveform)
        print(json.dumps({"peak_mib": peak_mib()}))
        return
    opened, load_s = open_all(chosen, parts["short"] or parts["long"])
    results = {
        part: measure(opened, part_clips, arguments.rounds)
        for part, part_clips in parts.items()
        if part_clips
    }
    memory = {name: peak_of(name) for name in opened} if arguments.memory else {}
    for part, rows in results.items():
        show(part, rows, memory)
    if arguments.output:
        kept = {
            "conditions": conditions(arguments),
            "load_s": load_s,
            "peak_mib": memory,
            "parts": results,
        }
        write_text(arguments.output, json.dumps(kept, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--compressed", action="append", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--long", help="manifest of long recordings with text")
    parser.add_argument("--short", help="manifest of clips with text")
    parser.add_argument("--long-clips", type=int, default=1)
    parser.add_argument("--short-clips", type=int, default=20)
    parser.add_argument("--openai-whisper", metavar="FILE.pt")
    parser.add_argument("--whisper-cpp", action="append", default=[], metavar="GGML_FILE")
    parser.add_argument(
        "--moonshine", metavar="FOLDER",
        help="of moonshine-voice's base model; takes a thread for each core, whatever --threads",
    )  # fmt: skip
    parser.add_argument("--only", action="append", help="systems by name")
    parser.add_argument(
        "--context", type=parse_context, default="auto", metavar="auto|off|N",
        help="of the hybrids; off encodes whole windows, as all others do",
    )  # fmt: skip
    parser.add_argument(
        "--pooling", type=parse_pooling, nargs="+", default=["auto"], metavar="auto|N",
        help="of the hybrids, a system for each; 1 shows the decoder all positions, as others do",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="also peak memory, one process each")
    parser.add_argument("--peak", metavar="SYSTEM", help="only transcribe once, and say the peak")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def clips(manifest: str | None, count: int) -> list[Clip]:
    """English clips with text; short ones of up to 10 seconds are what a manifest should hold."""
    if manifest is None:
        return []
    corpus = [u for u in liteasr.load_corpus(manifest) if u.text and u.language in ("en", None)]
    drawn = liteasr.Corpus(utterances=tuple(corpus), origin=manifest)
    return [(u.load(), u.text or "") for u in drawn.sample(min(count, len(corpus)))]


def open_all(chosen: Iterable[Any], warm_up: Sequence[Clip]) -> tuple[dict[str, Hear], Any]:
    opened, load_s = {}, {}
    for name, load in chosen:
        start = time.perf_counter()
        opened[name] = load()
        load_s[name] = time.perf_counter() - start
        opened[name](warm_up[0][0])
    return opened, load_s


def measure(opened: dict[str, Hear], part: Sequence[Clip], rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in opened}
    counts: dict[str, ErrorCounts] = {}
    names = list(opened)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            texts = [opened[name](waveform) for waveform, _ in part]
            seconds[name].append(time.perf_counter() - start)
            scored = [
                score_utterance(ref, t, "en") for (_, ref), t in zip(part, texts, strict=True)
            ]
            counts[name] = sum(scored[1:], scored[0])
            print(f"round {turn + 1}: {name}: {seconds[name][-1]:.2f} s", flush=True)
    audio_s = sum(len(waveform) for waveform, _ in part) / 16_000
    return {name: row(name, seconds, counts[name], audio_s) for name in names}


def row(
    name: str, seconds: dict[str, list[float]], counts: ErrorCounts, audio_s: float
) -> dict[str, Any]:
    own = seconds[name]
    faster = {}
    way = next((way for way in (" batched untimed", " batched") if name.endswith(way)), "")
    for baseline in (f"{base}{way}" for base in BASELINES):
        if baseline in seconds:
            ratios = [b / a for a, b in zip(own, seconds[baseline], strict=True)]
            faster[baseline] = [statistics.median(ratios), min(ratios), max(ratios)]
    return {
        "seconds": own,
        "median_s": statistics.median(own),
        "rtf": statistics.median(own) / audio_s,
        "audio_s": audio_s,
        "wer": counts.rate,
        "words": counts.n,
        "times_as_fast_as": faster,
    }


def show(part: str, rows: dict[str, Any], memory: dict[str, float]) -> None:
    print(f"\n{part}: {next(iter(rows.values()))['audio_s']:.0f} s of audio")
    print("| system | median s | min - max | RTF | WER | times as fast as | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for name, one in rows.items():
        fast = ", ".join(
            f"{base.removeprefix('faster-whisper ')}: {mid:.2f} ({low:.2f} - {high:.2f})"
            for base, (mid, low, high) in one["times_as_fast_as"].items()
        )
        span = f"{min(one['seconds']):.2f} - {max(one['seconds']):.2f}"
        peak = f"{memory[name]:.0f}" if name in memory else ""
        print(
            f"| {name} | {one['median_s']:.2f} | {span} | {one['rtf']:.3f} | "
            f"{one['wer']:.2%} | {fast} | {peak} |"
        )


def peak_of(name: str) -> float:
    """Peak resident memory of a process that opens one system and transcribes everything once."""
    command = [sys.executable, *sys.argv, "--peak", name]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(said.splitlines()[-1])["peak_mib"])


def peak_mib() -> float:
    """Of this process alone: ru_maxrss would start from what the parent had at the fork."""
    status = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) / 1024


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    packages = {}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "not installed"
    return {
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "warm_up": "one clip for each system",
        "model": arguments.model,
        "context": arguments.context,
        "pooling": arguments.pooling,
        "compressed": [Path(entry).name for entry in arguments.compressed],
        "python": platform.python_version(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "packages": packages,
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
