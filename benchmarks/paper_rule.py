"""The paper's rule at the published encoder sizes, on audio that calibration never saw.

For each way of counting frames it calibrates on one part of the speech, finds the attention
threshold whose plan has the wanted number of encoder parameters (the MLP threshold stays fixed, as
the published ranks suggest), and scores the compressed model on the other part beside the dense
one.

    python benchmarks/paper_rule.py CORPUS [CORPUS ...] --output benchmarks/results/paper_rule.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import liteasr
from liteasr.cli.screen import Screen
from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.evaluation import EvaluationReport, evaluate, paired_bootstrap_interval

SIZES_M = (18.64, 17.44, 16.07)  # lite-whisper-base-acc, lite-whisper-base, lite-whisper-base-fast
MLP = 0.999


def parts(
    refs: list[str], language: str, calibration: int, seed: int
) -> tuple[liteasr.Corpus, liteasr.Corpus]:
    """Split the clips of one language of every corpus, and join first and second parts."""
    first, second = [], []
    for ref in refs:
        whole = liteasr.load_corpus(ref)
        spoken = tuple(u for u in whole if u.language == language)
        corpus = liteasr.Corpus(utterances=spoken, origin=f"{language} clips of {ref}")
        count = max(1, min(calibration, len(corpus) // 2))
        a, b = corpus.split(count, seed=seed)
        first.extend(replace(u, id=f"{ref}:{u.id}") for u in a)
        second.extend(replace(u, id=f"{ref}:{u.id}") for u in b)
    return (
        liteasr.Corpus(utterances=tuple(first), origin="calibration parts"),
        liteasr.Corpus(utterances=tuple(second), origin="scored parts"),
    )


def size_of(model: liteasr.SpeechModel, plan: liteasr.RankPlan) -> float:
    """Encoder parameters in millions that a plan leads to, the new biases included."""
    encoder = adapter_for(model.model).encoder(model.model)
    gained = sum(
        layer.out_features
        for layer in plan
        if layer.rank is not None and encoder.get_submodule(layer.name).bias is None
    )
    saved = plan.dense_parameters - plan.parameters
    return (encoder_parameters(model.model) - saved + gained) / 1e6


def threshold_for(model: liteasr.SpeechModel, spectra: dict, size_m: float) -> liteasr.RankPlan:
    """Bisect the attention threshold to the wanted encoder size."""
    low, high = 0.5, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        config = liteasr.ThresholdConfig(attention=middle, mlp=MLP)
        plan = liteasr.plan_ranks(model, spectra, config)
        low, high = (low, middle) if size_of(model, plan) > size_m else (middle, high)
    return plan


def row(label: str, size_m: float, report: EvaluationReport, dense: EvaluationReport) -> dict:
    """One line of the table."""
    total = report.total
    assert total is not None
    mine, theirs = ([u.counts for u in r.utterances] for r in (report, dense))
    return {
        "model": label,
        "encoder_m": round(size_m, 3),
        "wer": total.counts.rate,
        "interval_95": total.interval,
        "difference_to_dense_95": paired_bootstrap_interval(mine, theirs),
        "n_words": total.counts.n,
        "clip_mean_paper": total.mean_clip_rate,
        "rtfx": total.rtfx,
    }


def main() -> None:
    """Run it and print Markdown rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--frames", nargs="+", default=["speech", "all"])
    parser.add_argument("--sizes", nargs="+", type=float, default=list(SIZES_M))
    parser.add_argument("--calibration", type=int, default=40, help="clips of each corpus, at most")
    parser.add_argument("--language", default="en")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    screen = Screen()
    screen.start_logging()
    calibration, scored = parts(
        arguments.corpora, arguments.language, arguments.calibration, seed=0
    )
    options = liteasr.TranscriptionOptions(
        language=arguments.language, temperature=(0.0,), timestamps=False
    )

    def score(model: liteasr.SpeechModel) -> EvaluationReport:
        return evaluate(liteasr.transcriber_for(model), scored, options, track=screen.track)

    model = liteasr.load_model(arguments.model)
    dense = score(model)
    rows = [row("dense", encoder_parameters(model.model) / 1e6, dense, dense)]
    print(json.dumps(rows[-1]), flush=True)
    for frames in arguments.frames:
        model = liteasr.load_model(arguments.model)
        moments = liteasr.calibrate(model, calibration, frames=frames, track=screen.track)
        spectra = liteasr.spectra_of(model, moments)
        for size_m in arguments.sizes:
            model = liteasr.load_model(arguments.model)
            plan = threshold_for(model, spectra, size_m)
            liteasr.compress_(model, plan, spectra)
            theta = plan.options["attention"]
            label = f"paper, frames={frames}, {theta:.4f}:{MLP}"
            rows.append(row(label, encoder_parameters(model.model) / 1e6, score(model), dense))
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "calibration": {"utterances": len(calibration), "sha256": calibration.fingerprint()},
        "scored": {"utterances": len(scored), "sha256": scored.fingerprint()},
        "environment": dict(dense.environment),
        "decoding": "greedy, no fallback, no timestamps, language as the corpus says",
        "rows": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
