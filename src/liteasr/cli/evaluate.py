"""liteasr evaluate: how many words a model gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from liteasr.cli.options import (
    BatchSize,
    ComputeType,
    Context,
    EncoderName,
    Json,
    Quiet,
    Runtime,
    Samples,
    Seed,
    Threads,
    open_transcriber,
    parse_context,
    refuse_collisions,
    start,
)
from liteasr.corpus import load_corpus
from liteasr.evaluation import EvaluationReport, ScoreRow, evaluate, write_hypotheses
from liteasr.runtime import TranscriptionOptions

__all__ = ["NOTHING", "evaluate_command", "score_table"]

NOTHING = "\u2013"  # without reference words there is no rate


def evaluate_command(
    models: Annotated[
        list[str], typer.Argument(help="Models to score, one after the other.", show_default=False)
    ],
    corpus: Annotated[
        list[str],
        typer.Option(
            "--corpus",
            help="Speech with text: a manifest, a folder with .txt files, hf:DATASET. May be given "
            "more than once. Never the audio used for calibration.",
            show_default=False,
        ),
    ],
    language: Annotated[
        str | None, typer.Option(help="Code or name. [default: as the corpus says]")
    ] = None,
    beam_size: Annotated[int, typer.Option("--beam-size", "--beam_size", min=1)] = 1,
    hypotheses: Annotated[
        Path | None,
        typer.Option(help="Keep what each model wrote, as JSONL files in this directory."),
    ] = None,
    context: Context = "auto",
    runtime: Runtime = "auto",
    encoder: EncoderName = "auto",
    compute_type: ComputeType = "auto",
    batch_size: BatchSize = None,
    samples: Samples = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score models by corpus word error rate, with a 95 % bootstrap interval.

    The rate is the sum of all errors over the sum of all reference words after Whisper's
    normalization; characters for languages without spaces. "clip mean" is the mean of the rates of
    single clips, as the LiteASR paper reports: comparable with its tables, with nothing else.

    Example: liteasr evaluate whisper-base whisper-base-lite --corpus test/manifest.jsonl
    """
    files = {model: f"{Path(model).resolve().name}.jsonl" for model in models}
    if hypotheses is not None:
        refuse_collisions((model, files[model]) for model in models)
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    chosen = load_corpus(corpus, samples=samples, seed=seed)
    options = TranscriptionOptions(
        language=language, beam_size=beam_size, context=parse_context(context)
    )
    reports = {}
    for model in models:
        transcriber = open_transcriber(model, runtime, encoder, compute_type, batch_size, screen)
        report = evaluate(transcriber, chosen, options, track=screen.track)
        reports[model] = report
        if hypotheses is not None:
            write_hypotheses(report.utterances, hypotheses / files[model])
    screen.result([report.to_dict() for report in reports.values()], score_table(reports))


def score_table(reports: dict[str, EvaluationReport]) -> Table:
    """One row per model and language."""
    table = Table(caption="corpus rate with 95 % bootstrap interval; RTFx = audio / compute time")
    table.add_column("model", overflow="fold")  # a path cut short would name nothing
    for heading in ("language", "rate"):
        table.add_column(heading)
    for heading in ("95 %", "N", "sub", "del", "ins", "clip mean (paper)", "RTFx"):
        table.add_column(heading, justify="right")
    for model, report in reports.items():
        total = report.total
        rows = report.rows if len(report.rows) > 1 else ()
        for row in (*rows, *(() if total is None else (total,))):
            table.add_row(model, *_cells(row))
    return table


def _cells(row: ScoreRow) -> tuple[str, ...]:
    counts = row.counts
    name = "WER" if counts.unit == "word" else "CER"
    low, high = row.interval or (0.0, 0.0)
    return (
        row.language,
        f"{name} {counts.rate:.2%}" if counts.n else f"{name} {NOTHING}",
        f"{low:.2%} - {high:.2%}" if counts.n else NOTHING,
        str(counts.n),
        str(counts.substitutions),
        str(counts.deletions),
        str(counts.insertions),
        f"{row.mean_clip_rate:.2%}" if counts.n else NOTHING,
        f"{row.rtfx:.1f}",
    )
