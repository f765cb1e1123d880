"""Peak memory of a calibration with few and with many clips: it must not grow.

python benchmarks/calibration_memory.py CORPUS [CORPUS ...] --clips 5 50
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import liteasr


def peak_mb(model: str, corpora: list[str], clips: int) -> tuple[float, float]:
    """Peak resident memory in MB with the model loaded, and after the calibration."""
    speech = liteasr.load_model(model)
    corpus = liteasr.load_corpus(corpora).sample(clips)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    liteasr.calibrate(speech, corpus)
    return loaded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """One fresh process for every number of clips, since peaks never fall."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--clips", nargs="+", type=int, default=[5, 50])
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child is not None:
        loaded, peak = peak_mb(arguments.model, arguments.corpora, arguments.child)
        print(f"{arguments.child} clips: {loaded:.0f} MB with the model, {peak:.0f} MB at the peak")
        return
    for clips in arguments.clips:
        command = [sys.executable, __file__, *arguments.corpora, "--model", arguments.model]
        subprocess.run([*command, "--child", str(clips)], check=True)


if __name__ == "__main__":
    main()
