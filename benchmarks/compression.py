"""How far each way of choosing ranks goes, and refinement on top, on audio that none has seen.

Rows: the dense model; the paper's rule; the budget with chains alone; with joint attention; with
refinement; all at the same sizes and from the same moments. The paper's thresholds are bisected to
the size, with MLP layers missing a tenth of what attention misses, as in its default 0.99:0.999.
Every clip is either calibrated (and refined) with or scored. Run it again to go on after an
interruption, or with other methods to add rows.

    python benchmarks/compression.py --corpus CORPUS --corpus ... --keep 0.7 --work DIR
        --output RESULTS.json
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from comparison import Comparison

import liteasr
from liteasr.cli.screen import Screen
from liteasr.corpus import parts, pieces
from liteasr.refinement import RefinementConfig, refine_
from liteasr.sweep import Method, plan_by_method
from liteasr.workflow import find_sensitivity

METHODS = ("paper", "chains", "joint", "refined")


def main() -> None:
    """Run it and print one line per model."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    screen = Screen()
    screen.start_logging()
    arguments.work.mkdir(parents=True, exist_ok=True)
    languages = arguments.languages
    first, scored = parts(arguments.corpus, languages, arguments.calibration)
    told = arguments.calibrate_languages or languages
    calibration = replace(first, utterances=tuple(u for u in first if u.language in told))
    dense = liteasr.load_model(arguments.model)
    facts = {
        "calibration": {
            "utterances": len(calibration),
            "languages": told,
            "sha256": calibration.fingerprint(),
        }
    }
    comparison = Comparison(dense, scored, arguments.output, screen, **facts)
    moments = arguments.work / f"{dense.name}-{'-'.join(told)}.safetensors"
    started = time.perf_counter()
    made = liteasr.calibrate(dense, calibration, path=moments, track=screen.track)
    spectra = liteasr.spectra_of(dense, made, track=screen.track)
    shuffled = calibration.sample(len(calibration))
    weights = find_sensitivity(dense, made, spectra, shuffled, moments, track=screen.track)
    prepared_s = time.perf_counter() - started

    for method in arguments.methods:
        for keep in arguments.keep:
            label = f"{method}, keep {keep:g}"
            if comparison.has(label):
                continue
            known: Method = "budget" if method == "chains" else method
            plan = plan_by_method(known, keep, dense, spectra, weights)
            reduced = liteasr.load_model(arguments.model)
            report = liteasr.compress_(reduced, plan, spectra)
            columns: dict[str, object] = {"prepared_s": prepared_s}
            if method == "refined":
                audio = refinement_audio(calibration, arguments.refine_with)
                config = RefinementConfig(steps=arguments.steps, batch_size=arguments.batch_size)
                state = arguments.work / f"{dense.name}-{'-'.join(told)}-{keep:g}.state"
                learned = refine_(reduced, dense, audio, config, path=state, track=screen.track)
                columns["refinement"] = learned.to_dict()
                lite = liteasr.CompressedModel(
                    speech=reduced, plan=plan, report=report, refinement=learned
                )
                lite.save(arguments.work / f"{dense.name}-{keep:g}-refined", overwrite=True)
            comparison.add(label, reduced, plan, **columns)


def refinement_audio(calibration: liteasr.Corpus, more: list[str]) -> liteasr.Corpus:
    """The calibration clips, and corpora of which nothing is scored."""
    added = [
        replace(piece, id=f"{ref}:{piece.id}")
        for ref in more
        for utterance in liteasr.load_corpus(ref)
        for piece in pieces(utterance)
    ]
    return liteasr.Corpus(utterances=(*calibration, *added), origin="refinement")


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--calibrate-languages", nargs="+", help="a part of them; all by default")
    parser.add_argument("--calibration", type=int, default=30, help="clips of each, at most")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--keep", nargs="+", type=float, default=[0.85, 0.7, 0.5])
    parser.add_argument("--refine-with", action="append", default=[], help="more unlabelled audio")
    parser.add_argument("--steps", type=int, default=RefinementConfig().steps)
    parser.add_argument("--batch-size", type=int, default=RefinementConfig().batch_size)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="moments, states, checkpoints")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
