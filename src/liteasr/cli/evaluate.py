"""liteasr evaluate: how many words models get wrong."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from liteasr.cli.options import (
    Device,
    Json,
    Quiet,
    Samples,
    Seed,
    Threads,
    refuse_collisions,
    start,
)
from liteasr.cli.runtime_options import (
    BatchSize,
    ComputeType,
    Context,
    EncoderName,
    Pooling,
    Runtime,
    Streams,
    open_transcriber,
    parse_context,
    parse_pooling,
)
from liteasr.cli.scores import score_table
from liteasr.corpus import OPEN_ASR, load_corpus
from liteasr.evaluation import (
    ALL,
    Candidate,
    EvaluationMatrix,
    Rules,
    corpus_labels,
    evaluate_all,
    identity_of,
    model_labels,
    read_results,
)
from liteasr.runtime import TranscriptionOptions

__all__ = ["evaluate_command"]

EVERY_SET = "open-asr"


def evaluate_command(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models to score, one after the other.", show_default=False),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            help="Speech with text: a manifest, a folder with .txt files, hf:DATASET, a test set "
            f"of the Open ASR Leaderboard ({EVERY_SET}:ami, ...; {EVERY_SET} is all of them). May "
            "be given more than once. Never the audio used for calibration.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The model to compare the others with. [default: the first]"),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Code or name. [default: as the corpus says]")
    ] = None,
    beam_size: Annotated[int, typer.Option("--beam-size", "--beam_size", min=1)] = 1,
    normalizer: Annotated[
        Rules,
        typer.Option(help="Whisper's, or the Open ASR Leaderboard's, which differs in English."),
    ] = "whisper",
    hypotheses: Annotated[
        Path | None,
        typer.Option(
            help="Keep what each model wrote, as JSONL files in this directory. An interrupted run "
            "goes on from there."
        ),
    ] = None,
    from_hypotheses: Annotated[
        Path | None,
        typer.Option(help="Score again what such a directory holds, without any model."),
    ] = None,
    context: Context = "auto",
    pooling: Pooling = "auto",
    runtime: Runtime = "auto",
    encoder: EncoderName = "auto",
    compute_type: ComputeType = "auto",
    batch_size: BatchSize = None,
    streams: Streams = 1,
    samples: Samples = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score models by corpus word error rate, with a 95 % bootstrap interval.

    The rate is the sum of all errors over the sum of all reference words after Whisper's
    normalization; characters for languages without spaces. With several models, the difference to
    the first one (or --reference) has an interval of its own, over the same draws of utterances.
    "clip mean" is the mean of the rates of single clips, as the LiteASR paper reports: comparable
    with its tables, with nothing else.

    Example: liteasr evaluate whisper-base whisper-base-lite --corpus test/manifest.jsonl
    """
    if from_hypotheses is not None:
        if models or corpus or hypotheses:
            raise typer.BadParameter("--from-hypotheses takes neither models nor corpora")
        screen = start(quiet=quiet, as_json=as_json)
        matrix = read_results(from_hypotheses, reference=reference, rules=normalizer)
        screen.result(_as_json(matrix), score_table(matrix))
        return
    if not models:
        raise typer.BadParameter("name the models to score")
    if not corpus:
        raise typer.BadParameter("name speech with text: --corpus")
    named = _named(models, reference)
    if hypotheses is not None:
        refuse_collisions((model, f"{Path(model).resolve().name}.jsonl") for model in named)
    screen = start(quiet=quiet, as_json=as_json, threads=threads)
    labels = model_labels(named)
    refs = _expanded(corpus)
    corpora = {
        label: load_corpus(ref, samples=samples, seed=seed)
        for ref, label in corpus_labels(refs).items()
    }
    matrix = evaluate_all(
        [
            Candidate(
                label=label,
                open=partial(
                    open_transcriber,
                    ref,
                    runtime,
                    encoder,
                    compute_type,
                    batch_size,
                    device,
                    screen,
                    streams,
                ),
                identity=f"{identity_of(ref)} {runtime} {encoder} {compute_type} {batch_size} "
                f"{streams}",
            )
            for ref, label in labels.items()
        ],
        corpora,
        TranscriptionOptions(
            language=language,
            beam_size=beam_size,
            context=parse_context(context),
            pooling=parse_pooling(pooling),
        ),
        reference=None if reference is None else labels[reference],
        rules=normalizer,
        directory=hypotheses,
        track=screen.track,
    )
    screen.result(_as_json(matrix), score_table(matrix))


def _named(models: list[str], reference: str | None) -> list[str]:
    """The models without repeats, and the reference among them."""
    return list(dict.fromkeys([*models, *([] if reference is None else [reference])]))


def _expanded(corpora: list[str]) -> list[str]:
    """Every set of the leaderboard in the place of all of them."""
    return [
        ref
        for given in corpora
        for ref in ([f"{EVERY_SET}:{name}" for name in OPEN_ASR] if given == EVERY_SET else [given])
    ]


def _as_json(matrix: EvaluationMatrix) -> list[object]:
    """One report for each model and corpus, with the rows that compare it; then the sums."""
    rows = matrix.rows()

    def compared(model: str, corpus: str) -> dict[str, object]:
        mine = [row.to_dict() for row in rows if (row.model, row.corpus) == (model, corpus)]
        return {"label": model, "corpus": corpus, "reference": matrix.reference, "rows": mine}

    cells = [
        {**cell.report.to_dict(), **compared(cell.model, cell.corpus)} for cell in matrix.cells
    ]
    sums = matrix.models if len(matrix.corpora) > 1 else ()
    return [
        *cells,
        *(
            {**compared(model, ALL), "mean_over_corpora": matrix.mean_over_corpora(model)}
            for model in sums
        ),
    ]
