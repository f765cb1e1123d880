"""How far pairs of positions go: words and KL by where a Whisper encoder is pooled, and by FLOPs.

Rows: the dense model; it pooled before some block and nothing else; pooled and planned to a share
of the whole original's FLOPs; planned to the same share without pooling (`none`); with `--refine`,
the planned ones refined as well. Calibration is of the pooled encoder each time. Clips and decoding
are those of `compression.py`. Run it again to go on after an interruption, or with other blocks and
shares to add rows.

    python benchmarks/pooling.py --corpus CORPUS --corpus ... --pool-from none 3 2 --flops 1 0.5
        --work DIR --output RESULTS.json
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from pathlib import Path

import torch
from comparison import (
    Comparison,
    add_refinement,
    looked_at,
    refined,
    refinement_config,
    with_more,
)

import liteasr
from liteasr.cli.screen import Screen
from liteasr.corpus import parts
from liteasr.encoders import pool_positions_, pooled_from
from liteasr.plan import BudgetConfig, Costs, RankPlan, plan_ranks


def main() -> None:
    """Run it and print one line per model."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    screen = Screen()
    screen.start_logging()
    arguments.work.mkdir(parents=True, exist_ok=True)
    calibration, scored = parts(arguments.corpus, arguments.languages, arguments.calibration)
    dense = liteasr.load_model(arguments.model)
    comparison = Comparison(
        dense,
        scored,
        arguments.output,
        screen,
        arguments.runtime,
        calibration={"utterances": len(calibration), "sha256": calibration.fingerprint()},
    )
    audio = with_more(calibration, arguments.refine_with)
    for block, share in itertools.product(arguments.pool_from, arguments.flops):
        start = started(arguments.model, block)
        costs = Costs(unit="flops", model=start.model)
        if share < 1 and costs.dense < share * costs.whole:
            print(f"pooled from {block}: that alone leaves less than {share:g}")
            continue
        label = f"pooled from {block}, FLOPs {share:g}"
        place = arguments.work / label.replace(", ", "-").replace(" ", "-")
        make = partial(reduced, start, share, calibration, arguments, screen)
        whole = block is None and share == 1
        if not whole and not comparison.has(label):
            lite = make()
            comparison.add(label, lite.speech, lite.plan, started_from=start)
            lite.save(place)
        label = f"{label}, refined"
        if arguments.refine and share < 1 and not comparison.has(label):
            place = place.with_name(f"{place.name}-refined")
            config, device = refinement_config(arguments), arguments.refine_device
            lite = refined(make, dense, audio, config, place, screen, device)
            assert lite.refinement is not None
            learned = lite.refinement.to_dict()
            comparison.add(label, lite.speech, lite.plan, started_from=start, refinement=learned)


def started(model: str, block: int | None) -> liteasr.SpeechModel:
    """The dense model, pooled from a block on."""
    speech = liteasr.load_model(model)
    if block is not None:
        pool_positions_(speech.model, block)
    return speech


def reduced(
    start: liteasr.SpeechModel,
    share: float,
    calibration: liteasr.Corpus,
    arguments: argparse.Namespace,
    screen: Screen,
) -> liteasr.CompressedModel:
    """Planned to a share of the original's FLOPs, 1 changing nothing."""
    block = pooled_from(start.model.get_encoder())
    moments = arguments.work / f"{start.name}-{block}.safetensors"
    made, spectra, weights = looked_at(start, calibration, moments, screen)
    config = BudgetConfig(keep=share, unit="flops")
    plan: RankPlan = plan_ranks(start, spectra, config, sensitivity=weights)
    speech = started(arguments.model, block)
    report = liteasr.compress_(speech, plan, spectra)
    return liteasr.CompressedModel(
        speech=speech, plan=plan, report=report, calibration=made.provenance
    )


def block_of(text: str) -> int | None:
    """A block, or none."""
    return None if text == "none" else int(text)


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--calibration", type=int, default=30, help="clips of each, at most")
    parser.add_argument("--pool-from", nargs="+", type=block_of, default=[None, 3, 2])
    parser.add_argument("--flops", nargs="+", type=float, default=[1.0, 0.5])
    parser.add_argument("--refine", action="store_true", help="refine the planned ones as well")
    add_refinement(parser)
    parser.add_argument("--runtime", default="faster-whisper", help="what transcribes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="moments and checkpoints")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
