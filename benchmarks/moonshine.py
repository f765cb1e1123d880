"""Moonshine with real weights: word errors of every rule at the same sizes, and encoder times.

Rows: the dense model; the paper's rule; the budget with joint attention; the same with refinement;
all at the same sizes (`liteasr.sweep.plan_by_method`). Every clip is either calibrated (and
refined) with or scored. Beside the errors, what the encoder takes for audio of several lengths,
dense and reduced in turns, so that a busy machine slows both. Run it again to go on after an
interruption, or with `--retime` to take the times again when nothing else runs.

    python benchmarks/moonshine.py --corpus CORPUS --corpus ... --work DIR --output RESULTS.json
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from comparison import (
    Comparison,
    add_refinement,
    looked_at,
    on_device_,
    refinement_config,
    spectra_for,
    with_more,
)

import liteasr
from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.cli.screen import Screen
from liteasr.corpus import parts
from liteasr.encoders import adapter_for, run_encoder
from liteasr.plan.stopwatch import Action, medians_ms
from liteasr.refinement import refine_
from liteasr.sweep import plan_by_method

METHODS = ("paper", "joint", "units", "refined")


def main() -> None:
    """Run it and print one line per model."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    screen = Screen()
    screen.start_logging()
    arguments.work.mkdir(parents=True, exist_ok=True)
    calibration, scored = parts(arguments.corpus, ["en"], arguments.calibration)
    if arguments.scored is not None:
        scored = scored.sample(arguments.scored)
    dense = liteasr.load_model(arguments.model)
    told = {"utterances": len(calibration), "sha256": calibration.fingerprint()}
    comparison = Comparison(
        dense, scored, arguments.output, screen, calibration=told, threads=arguments.threads
    )
    moments = arguments.work / f"{dense.name}.safetensors"
    made, weighed, weights = looked_at(dense, calibration, moments, screen)

    for method, keep in itertools.product(arguments.methods, arguments.keep):
        label = f"{method}, keep {keep:g}"
        if comparison.has(label) and not arguments.retime:
            continue
        spectra = spectra_for(method, dense, made, weighed)
        plan = plan_by_method(method, keep, dense, spectra, weights)
        reduced = liteasr.load_model(arguments.model)
        liteasr.compress_(reduced, plan, spectra)
        if arguments.retime:
            # training changes no shape, so a refined model takes what its plan takes
            times = encoder_ms(dense, reduced, arguments.lengths)
            comparison.amend(label, encoder_ms=times)
            continue
        columns: dict[str, object] = {}
        if method == "refined":
            state = arguments.work / f"{dense.name}-{keep:g}.state"
            audio = with_more(calibration, arguments.refine_with)
            config = refinement_config(arguments)
            with on_device_(arguments.refine_device, reduced, dense):
                learned = refine_(reduced, dense, audio, config, path=state, track=screen.track)
            columns["refinement"] = learned.to_dict()
        columns["encoder_ms"] = encoder_ms(dense, reduced, arguments.lengths)
        comparison.add(label, reduced, plan, **columns)


def encoder_ms(
    dense: liteasr.SpeechModel, reduced: liteasr.SpeechModel, lengths_s: list[float]
) -> dict[str, dict[str, float]]:
    """Median milliseconds by length, of both models in turns."""
    actions = {}
    for name, speech in (("dense", dense), ("reduced", reduced)):
        for length_s in lengths_s:
            actions[f"{name} {length_s:g} s", 0] = encoding(speech, length_s)
    with torch.inference_mode():
        times = medians_ms(actions)
    return {
        f"{length_s:g} s": {
            name: round(times[f"{name} {length_s:g} s", 0], 3) for name in ("dense", "reduced")
        }
        for length_s in lengths_s
    }


def encoding(speech: liteasr.SpeechModel, length_s: float) -> Action:
    """One call of an encoder on noise of some length."""
    adapter = adapter_for(speech.model)
    noise = np.random.default_rng(0).standard_normal(round(length_s * SAMPLE_RATE_HZ))
    window = next(adapter.inputs(speech.processor, (0.1 * noise).astype(np.float32)))
    return lambda: run_encoder(adapter.encoder(speech.model), window)


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--model", default="moonshine-base", help="or moonshine-tiny")
    parser.add_argument("--calibration", type=int, default=30, help="clips of each, at most")
    parser.add_argument("--scored", type=int, help="score that many clips; all by default")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--keep", nargs="+", type=float, default=[0.85, 0.7, 0.5])
    parser.add_argument("--lengths", nargs="+", type=float, default=[2, 5, 10, 20, 30])
    add_refinement(parser)
    parser.add_argument("--retime", action="store_true", help="take the encoder's times again")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True, help="moments, states")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
