"""The paper's rule at the published encoder sizes, on audio that calibration never saw.

For each way of counting frames it calibrates on one part of the speech, finds the attention
threshold whose plan has the wanted number of encoder parameters (the MLP threshold stays fixed, as
the published ranks suggest), and scores the compressed model on the other part beside the dense
one.

    python benchmarks/paper_rule.py CORPUS [CORPUS ...] --output benchmarks/results/paper_rule.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from comparison import Comparison

import liteasr
from liteasr.cli.screen import Screen
from liteasr.corpus import parts
from liteasr.lowrank import Spectra
from liteasr.sweep import plan_of_size

SIZES_M = (18.64, 17.44, 16.07)  # lite-whisper-base-acc, lite-whisper-base, lite-whisper-base-fast
MLP = 0.999


def main() -> None:
    """Run it and print one JSON row per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--frames", nargs="+", default=["speech", "all"])
    parser.add_argument("--sizes", nargs="+", type=float, default=list(SIZES_M))
    parser.add_argument("--calibration", type=int, default=30, help="clips of each corpus, at most")
    parser.add_argument("--language", default="en")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    screen = Screen()
    screen.start_logging()
    calibration, scored = parts(arguments.corpora, [arguments.language], arguments.calibration)
    dense = liteasr.load_model(arguments.model)
    facts = {"utterances": len(calibration), "sha256": calibration.fingerprint()}
    comparison = Comparison(dense, scored, arguments.output, screen, calibration=facts)
    for frames in arguments.frames:
        moments = liteasr.calibrate(
            dense,
            calibration,
            frames=frames,
            units=False,
            readings=False,
            track=screen.track,
        )
        spectra = liteasr.spectra_of(dense, moments, units=False, weighed=False)

        def plan_at(missed: float, spectra: Spectra = spectra) -> liteasr.RankPlan:
            config = liteasr.ThresholdConfig(attention=1 - missed, mlp=MLP)
            return liteasr.plan_ranks(dense, spectra, config)

        for size_m in arguments.sizes:
            plan = plan_of_size(dense, plan_at, size_m * 1e6)
            reduced = liteasr.load_model(arguments.model)
            liteasr.compress_(reduced, plan, spectra)
            label = f"frames={frames}, {plan.options['attention']:.4f}:{MLP}"
            comparison.add(label, reduced, plan)


if __name__ == "__main__":
    main()
