"""Tables of a report as headings and cells of text, for HTML and Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liteasr.benchmark import BenchmarkResults, Spread
from liteasr.evaluation import EvaluationMatrix
from liteasr.report.contents import Contents

__all__ = ["Table", "benchmark_table", "markdown_table", "score_table", "sweep_table"]

NOTHING = "\u2013"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Headings, and rows with a cell for each."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sweep_table(contents: Contents) -> Table | None:
    """Sizes, divergences and rates of a sweep; None where there is none."""
    if contents.sweep is None:
        return None
    timed = contents.benchmark is not None
    rows = []
    for row in contents.sweep.rows:
        score = contents.score(row.label)
        measured = contents.measured(row)
        low, high = row.kl_interval
        rows.append(
            (
                row.label,
                f"{row.encoder_parameters / 1e6:.2f} M",
                f"{row.kept_parameters:.1%}",
                f"{row.flops / 1e9:.2f}",
                *([_spread(None if measured is None else measured.encoder_ms, 1)] if timed else []),
                f"{row.mean_kl:.4f} ({low:.4f} - {high:.4f})",
                f"{row.agreement:.1%}",
                NOTHING if score is None else f"{score.score.counts.rate:.2%}",
            )
        )
    times = ("encoder ms",) if timed else ()
    rate = contents.quality if contents.matrix else "error rate"
    headings = ("model", "encoder", "kept", "GFLOPs", *times, "KL (95 %)", "same token", rate)
    return Table(headings=headings, rows=tuple(rows))


def score_table(matrix: EvaluationMatrix) -> Table:
    """Every row of an evaluation."""
    rows = []
    for row in matrix.rows():
        score, counts = row.score, row.score.counts
        made_up = score.anomalies
        rows.append(
            (
                row.model,
                row.corpus,
                score.language,
                f"{'WER' if counts.unit == 'word' else 'CER'} "
                + (f"{counts.rate:.2%}" if counts.n else NOTHING),
                _interval(score.interval, "{:.2%}"),
                _points(row.difference_interval),
                f"{counts.n:,}",
                f"{counts.substitutions} / {counts.deletions} / {counts.insertions}",
                f"{made_up.silent} / {made_up.bursts} / {made_up.loops}",
                f"{score.mean_clip_rate:.2%}" if counts.n else NOTHING,
                f"{score.rtfx:.1f}",
            )
        )
    against = f"minus {matrix.reference}, 95 %"
    headings = ("model", "corpus", "language", "rate", "95 %", against, "N", "S / D / I",
                "silence / bursts / loops", "clip mean (paper)", "RTFx")  # fmt: skip
    return Table(headings=headings, rows=tuple(rows))


def benchmark_table(results: BenchmarkResults) -> Table:
    """Every row of a benchmark."""
    rows = tuple(
        (
            row.label,
            row.backend,
            _spread(row.encoder_ms, 1),
            _spread(row.first_token_ms, 1),
            _spread(row.rtf, 3),
            _spread(row.ratio, 2),
            NOTHING if row.peak_mb is None else f"{row.peak_mb:.0f}",
            NOTHING if row.encoder_flops is None else f"{row.encoder_flops / 1e9:.2f}",
            NOTHING if row.peak_share is None else f"{row.peak_share:.0%}",
        )
        for row in results.rows
    )
    headings = ("model", "backend", "encoder ms", "first token ms", "RTF", "times as fast",
                "peak MB", "GFLOPs", "of matmul peak")  # fmt: skip
    return Table(headings=headings, rows=rows)


def markdown_table(table: Table) -> str:
    """The table in Markdown; bars inside cells are escaped."""
    lines: list[Sequence[str]] = [table.headings, ["---"] * len(table.headings), *table.rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return NOTHING
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} - {spread.high:.{digits}f})"


def _interval(interval: tuple[float, float] | None, form: str) -> str:
    return NOTHING if interval is None else " - ".join(form.format(end) for end in interval)


def _points(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return NOTHING
    return " - ".join(f"{100 * end:+.2f}" for end in interval)
