"""How far each way of choosing ranks goes, and refinement on top, on audio that none has seen.

Rows: the dense model; the paper's rule; the budget with chains alone; with joint attention; with
hidden units that go as well; that one refined; all at the same sizes and from the same moments. The
paper's thresholds are bisected to the size, with MLP layers missing a tenth of what attention
misses, as in its default 0.99:0.999.
Every clip is either calibrated (and refined) with or scored. Run it again to go on after an
interruption, or with other methods to add rows.

    python benchmarks/compression.py --corpus CORPUS --corpus ... --keep 0.7 --work DIR
        --output RESULTS.json
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from comparison import (
    Comparison,
    add_refinement,
    looked_at,
    refined,
    refinement_config,
    spectra_for,
    with_more,
)

import liteasr
from liteasr.atomic import write_text
from liteasr.cli.screen import Screen
from liteasr.corpus import parts
from liteasr.lowrank import Spectra
from liteasr.sensitivity import Sensitivity
from liteasr.sweep import Method, plan_by_method

METHODS = ("paper", "chains", "joint", "units", "refined")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What all rows share: the parts, the dense model, its spectra and sensitivities."""

    dense: liteasr.SpeechModel
    calibration: liteasr.Corpus
    scored: liteasr.Corpus
    languages: list[str]
    made: liteasr.Calibration
    spectra: Spectra
    weights: Sensitivity
    seconds: float


def main() -> None:
    """Run it and print one line per model."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    screen = Screen()
    screen.start_logging()
    arguments.work.mkdir(parents=True, exist_ok=True)
    prepared = prepare(arguments, screen)
    rows = [(method, keep) for method in arguments.methods for keep in arguments.keep]
    for _, keep in (row for row in rows if row[0] == "refined"):
        learned(prepared, keep, arguments, screen)
    if arguments.output is None:
        return
    facts = {
        "calibration": {
            "utterances": len(prepared.calibration),
            "languages": prepared.languages,
            "sha256": prepared.calibration.fingerprint(),
        }
    }
    comparison = Comparison(
        prepared.dense, prepared.scored, arguments.output, screen, arguments.runtime, **facts
    )
    for method, keep in rows:
        label = f"{method}, keep {keep:g}"
        if comparison.has(label):
            continue
        columns: dict[str, object] = {"prepared_s": prepared.seconds}
        if method == "refined":
            lite = learned(prepared, keep, arguments, screen)
            assert lite.refinement is not None
            columns["refinement"] = lite.refinement.to_dict()
        else:
            started = time.perf_counter()
            lite = reduced(prepared, method, keep, arguments)
            columns["compress_s"] = time.perf_counter() - started
        comparison.add(label, lite.speech, lite.plan, **columns)


def prepare(arguments: argparse.Namespace, screen: Screen) -> Prepared:
    """Calibrate and probe, or find what an earlier run kept."""
    languages = arguments.languages
    first, scored = parts(arguments.corpus, languages, arguments.calibration)
    told = arguments.calibrate_languages or languages
    heard = replace(first, utterances=tuple(u for u in first if u.language in told))
    calibration = with_more(heard, arguments.calibrate_with)
    dense = liteasr.load_model(arguments.model)
    moments = arguments.work / f"{dense.name}-{'-'.join(told)}.safetensors"
    taken = moments.with_suffix(".seconds.json")  # the first time; the next finds it all
    started = time.perf_counter()
    made, spectra, weights = looked_at(dense, calibration, moments, screen)
    if not taken.is_file():
        write_text(taken, json.dumps(time.perf_counter() - started))
    return Prepared(
        dense=dense,
        calibration=calibration,
        scored=scored,
        languages=told,
        made=made,
        spectra=spectra,
        weights=weights,
        seconds=json.loads(taken.read_text()),
    )


def reduced(
    prepared: Prepared, method: str, keep: float, arguments: argparse.Namespace
) -> liteasr.CompressedModel:
    """A model in closed form."""
    known: Method = "budget" if method == "chains" else method
    spectra = spectra_for(method, prepared.dense, prepared.made, prepared.spectra)
    plan = plan_by_method(known, keep, prepared.dense, spectra, prepared.weights)
    speech = liteasr.load_model(arguments.model)
    report = liteasr.compress_(speech, plan, spectra)
    return liteasr.CompressedModel(
        speech=speech, plan=plan, report=report, calibration=prepared.made.provenance
    )


def learned(
    prepared: Prepared, keep: float, arguments: argparse.Namespace, screen: Screen
) -> liteasr.CompressedModel:
    """The plan with units, refined."""
    name = f"{prepared.dense.name}-{'-'.join(prepared.languages)}-{keep:g}-units-refined"
    return refined(
        lambda: reduced(prepared, "units", keep, arguments),
        prepared.dense,
        with_more(prepared.calibration, arguments.refine_with),
        refinement_config(arguments),
        arguments.work / name,
        screen,
        arguments.refine_device,
    )


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--calibrate-languages", nargs="+", help="a part of them; all by default")
    parser.add_argument("--calibration", type=int, default=30, help="clips of each, at most")
    parser.add_argument(
        "--calibrate-with", action="append", default=[], help="more unlabelled audio, all of it"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--keep", nargs="+", type=float, default=[0.85, 0.7, 0.5])
    add_refinement(parser)
    parser.add_argument("--runtime", default="faster-whisper", help="what transcribes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="moments, states, checkpoints")
    parser.add_argument("--output", type=Path, help="scores; without it models are only made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
