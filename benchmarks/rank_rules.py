"""The paper's rule and the budgeted rule at the same encoder sizes, on audio neither has seen.

Both use the same moments of the same calibration clips. The paper's thresholds are bisected to the
size, with MLP layers missing a tenth of what attention misses, as in its default 0.99:0.999. The
budgeted plan takes the size as its budget and weighs layers by probed sensitivity.

    python benchmarks/rank_rules.py CORPUS [CORPUS ...] --keep 0.85 0.7 0.5 --output RESULTS.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from comparison import Comparison, parts, size_for

import liteasr
from liteasr.cli.screen import Screen
from liteasr.encoders import encoder_parameters


def main() -> None:
    """Run it and print one JSON row per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--keep", nargs="+", type=float, default=[0.85, 0.7, 0.5])
    parser.add_argument("--windows", type=int, default=6, help="windows to probe with")
    parser.add_argument("--calibration", type=int, default=30, help="clips of each corpus, at most")
    parser.add_argument("--language", default="en")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    screen = Screen()
    screen.start_logging()
    calibration, scored = parts(arguments.corpora, arguments.language, arguments.calibration)
    model = liteasr.load_model(arguments.model)
    comparison = Comparison(model, scored, screen)
    spectra = liteasr.spectra_of(model, liteasr.calibrate(model, calibration, track=screen.track))
    started = time.perf_counter()
    probed = calibration.sample(arguments.windows)
    sensitivity = liteasr.probe(model, spectra, probed, windows=len(probed), track=screen.track)
    probing_s = time.perf_counter() - started

    def paper(missed: float) -> liteasr.RankPlan:
        config = liteasr.ThresholdConfig(attention=1 - missed, mlp=1 - missed / 10)
        return liteasr.plan_ranks(model, spectra, config)

    for keep in arguments.keep:
        config = liteasr.BudgetConfig(keep=keep)
        size_m = keep * encoder_parameters(model.model) / 1e6
        for rule, plan in (
            ("paper", size_for(model, paper, size_m)),
            ("budget", liteasr.plan_ranks(model, spectra, config, sensitivity=sensitivity)),
        ):
            reduced = liteasr.load_model(arguments.model)
            liteasr.compress_(reduced, plan, spectra)
            comparison.add(f"{rule}, keep {keep:g}", reduced)
    facts = {"utterances": len(calibration), "sha256": calibration.fingerprint()}
    comparison.write(arguments.output, calibration=facts, probing_s=probing_s)


if __name__ == "__main__":
    main()
