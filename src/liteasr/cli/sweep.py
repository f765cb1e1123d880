"""liteasr sweep: budgets times methods from one calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from liteasr.atomic import require_writable
from liteasr.cli.options import Device, Json, Model, Quiet, Samples, Seed, Threads, start
from liteasr.cli.plan_options import open_model
from liteasr.corpus import Corpus, load_corpus
from liteasr.evaluation import EvaluationMatrix, MatrixRow, Rules, corpus_labels, pareto_front
from liteasr.refinement import RefinementConfig
from liteasr.sweep import METHODS, SweepConfig, SweepResults, sweep

__all__ = ["sweep_command", "sweep_table"]

HELD_OUT_SHARE = 5  # one clip in so many, where no corpus is scored


def sweep_command(
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Directory of moments, checkpoints, hypotheses and sweep.json. An interrupted "
            "sweep goes on from there; other sizes or methods add rows.",
            show_default=False,
        ),
    ],
    audio: Annotated[
        list[str] | None,
        typer.Option(help="Unlabelled speech that calibrates. May be given more than once."),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Speech with text to score every model on. May be given more than once."),
    ] = None,
    split: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="In place of --audio: calibrate with this many clips of each --corpus (at most "
            "half of them) and score the others.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Shares of the encoder's parameters. [default: 0.85,0.7,0.5]"),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(help=f"Some of {','.join(METHODS)}. [default: paper,budget,joint,units]"),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Of the refinement, for the method refined.")
    ] = RefinementConfig().steps,
    normalizer: Annotated[Rules, typer.Option(help="See `liteasr evaluate`.")] = "whisper",
    samples: Samples = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compress one model to several sizes in several ways, and compare what comes out.

    Moments and sensitivities are made once. Every model is compared with the original on clips
    that did not calibrate, without labels (KL per token of the decoder), and scored where
    --corpus gives texts. `liteasr report DIR` makes a page of it.

    Example: liteasr sweep whisper-base --corpus test/manifest.jsonl --split 50 -o sweep
    """
    config = _config(keep, methods, steps)
    calibrating, held_out, corpora = _speech(audio, corpus, split, samples, seed)
    require_writable(output, folder=True)
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    speech = open_model(model, device=device, track=screen.track)
    results, matrix = sweep(
        speech,
        calibrating,
        held_out,
        output,
        config,
        corpora=corpora,
        rules=normalizer,
        track=screen.track,
    )
    rows = [] if matrix is None else [row.to_dict() for row in matrix.rows()]
    plain = [row.to_dict() for row in results.rows]
    screen.result(
        {"model": results.model, "rows": plain, "skipped": dict(results.skipped), "scores": rows},
        sweep_table(results, matrix),
    )


def sweep_table(results: SweepResults, matrix: EvaluationMatrix | None) -> Table:
    """One row per model; the Pareto front of size and divergence is marked."""
    sizes = [(float(row.encoder_parameters), row.mean_kl) for row in results.rows]
    front = pareto_front(sizes)
    corpora = () if matrix is None else matrix.corpora
    table = Table(
        title=f"{results.model}: sizes and methods",
        caption="* no smaller encoder is as near to the dense model; KL in nats per token",
    )
    table.add_column("model", no_wrap=True)
    for heading in ("encoder", "kept", "FLOPs", "KL", "agreement", *corpora):
        table.add_column(heading, justify="right")
    for place, row in enumerate(results.rows):
        table.add_row(
            f"{row.label}{' *' if place in front else ''}",
            f"{row.encoder_parameters / 1e6:.2f} M",
            f"{row.kept_parameters:.1%}",
            f"{row.kept_flops:.1%}",
            f"{row.mean_kl:.4f}",
            f"{row.agreement:.1%}",
            *(_rate(matrix, row.label, name) for name in corpora),
        )
    for label, reason in results.skipped.items():
        table.add_row(label, *[""] * (5 + len(corpora)), style="dim")
        table.caption = f"{table.caption}; {label} is not possible: {reason}"
    return table


def _rate(matrix: EvaluationMatrix | None, model: str, corpus: str) -> str:
    found: list[MatrixRow] = [
        row
        for row in ([] if matrix is None else matrix.rows())
        if (row.model, row.corpus, row.score.language) == (model, corpus, "all")
    ]
    if not found or not found[0].score.counts.n:
        return ""
    kind = "WER" if found[0].score.counts.unit == "word" else "CER"
    return f"{kind} {found[0].score.counts.rate:.2%}"


def _config(keep: list[str] | None, methods: list[str] | None, steps: int) -> SweepConfig:
    default = SweepConfig()
    try:
        shares = tuple(float(part) for text in keep or () for part in text.split(","))
        named = tuple(part.strip() for text in methods or () for part in text.split(","))
        return SweepConfig(
            keep=shares or default.keep,
            methods=named or default.methods,  # type: ignore[arg-type]
            refinement=RefinementConfig(steps=steps),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _speech(
    audio: list[str] | None,
    corpus: list[str] | None,
    split: int | None,
    samples: int | None,
    seed: int,
) -> tuple[Corpus, Corpus, dict[str, Corpus]]:
    """What calibrates, what divergences are measured on, and what is scored."""
    if (audio is None) == (split is None):
        raise typer.BadParameter("give --audio to calibrate with, or --split with --corpus")
    if split is not None and not corpus:
        raise typer.BadParameter("--split divides what --corpus gives: name one")
    scored: dict[str, Corpus] = {}
    calibrating: list[Corpus] = []
    for ref, label in corpus_labels(corpus or ()).items():
        whole = load_corpus(ref, samples=samples, seed=seed)
        if split is not None:
            if len(whole) < 2:
                raise typer.BadParameter(f"{ref} has one clip: it cannot be split")
            first, whole = whole.split(min(split, len(whole) // 2), seed=seed)
            calibrating.append(first)
        scored[label] = whole
    if audio is not None:
        calibrating = [load_corpus(audio, samples=samples, seed=seed)]
    first = _joined(calibrating)
    if scored:
        return first, _joined(list(scored.values())), scored
    if len(first) < 2:
        raise typer.BadParameter("one clip is too little: some must be held out")
    held_out, first = first.split(max(1, len(first) // HELD_OUT_SHARE), seed=seed)
    return first, held_out, {}


def _joined(parts: list[Corpus]) -> Corpus:
    return Corpus(
        utterances=tuple(one for part in parts for one in part),
        origin=" + ".join(part.origin for part in parts),
    )
