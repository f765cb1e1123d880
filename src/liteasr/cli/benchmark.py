"""liteasr benchmark: speed and memory, ours and others side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from liteasr.benchmark import BACKENDS, OURS, BackendSpec, BenchmarkResults, Spread, benchmark
from liteasr.cli.options import Audio, Json, Quiet, Seed, start
from liteasr.corpus import load_corpus
from liteasr.evaluation import model_labels

__all__ = ["benchmark_command", "benchmark_table"]

PEERS = tuple(name for name in BACKENDS if name != OURS)
NOTHING = "\u2013"


def benchmark_command(
    models: Annotated[
        list[str], typer.Argument(help="Models of ours; the first is compared with all others.")
    ],
    audio: Audio,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Another recognizer, NAME or NAME=MODEL: {', '.join(PEERS)}. Without a model it "
            "gets the first one. May be given more than once; what is not installed is left out "
            "with the reason."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory for benchmark.json; report reads it."),
    ] = None,
    language: Annotated[str, typer.Option(help="Of the audio.")] = "en",
    rounds: Annotated[int, typer.Option(min=1, help="Passes over the clips.")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="Clips, chosen by --seed.")] = 8,
    seed: Seed = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of every process.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time the encoder, the first token and whole transcriptions, and measure peak memory.

    Every backend is read in turn with the first one, A B A B, in one process for each pair; memory
    is measured in a process of its own. All decode greedily on the CPU in float32, but for those
    whose name says another precision and the peer hybrid, which is our fast path as it is used.
    Run it on a quiet machine.

    Example: liteasr benchmark whisper-base lite --audio test/ --peer faster-whisper
    --peer hybrid=lite
    """
    specs = [
        BackendSpec(kind=OURS, model=ref, label=label, language=language, threads=threads)
        for ref, label in model_labels(models).items()
    ]
    names = [given.partition("=")[0] for given in peer or ()]
    for given in peer or ():
        name, _, model = given.partition("=")
        if name not in PEERS:
            raise typer.BadParameter(f"--peer must be one of {', '.join(PEERS)}, got {name!r}")
        specs.append(
            BackendSpec(
                kind=name,
                model=model or models[0],
                label=name if names.count(name) == 1 else given,
                language=language,
                threads=threads,
            )
        )
    if len({spec.label for spec in specs}) < len(specs):
        raise typer.BadParameter("the same peer is named twice")
    screen = start(quiet=quiet, as_json=as_json)
    clips = [one.load() for one in load_corpus(audio, samples=samples, seed=seed)]
    results = benchmark(specs, clips, rounds=rounds, threads=threads, track=screen.track)
    if output is not None:
        results.save(output)
        screen.note(f"written to {output}")
    screen.result(results.to_dict(), benchmark_table(results))


def benchmark_table(results: BenchmarkResults) -> Table:
    """One row per backend."""
    machine = results.machine
    caption = (
        f"{machine['device']}, threads: {machine['threads']}, matmul peak "
        f"{machine['matmul_peak_gflops']:.0f} GFLOP/s; medians with quartiles"
    )
    for name, reason in results.skipped.items():
        caption += f"; {name} left out: {reason}"
    table = Table(caption=caption)
    table.add_column("model", overflow="fold")
    for heading in ("encoder ms", "first token ms", "RTF", "times as fast", "peak MB", "GFLOPs",
                    "of peak"):  # fmt: skip
        table.add_column(heading, justify="right")
    for row in results.rows:
        table.add_row(
            row.label,
            _spread(row.encoder_ms, 1),
            _spread(row.first_token_ms, 1),
            _spread(row.rtf, 3),
            _spread(row.ratio, 2),
            NOTHING if row.peak_mb is None else f"{row.peak_mb:.0f}",
            NOTHING if row.encoder_flops is None else f"{row.encoder_flops / 1e9:.2f}",
            NOTHING if row.peak_share is None else f"{row.peak_share:.0%}",
        )
    return table


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return NOTHING
    ends = f"{spread.low:.{digits}f} - {spread.high:.{digits}f}"
    return f"{spread.median:.{digits}f} ({ends})"
