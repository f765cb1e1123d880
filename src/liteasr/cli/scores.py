"""Scores of many models on many corpora as a Rich table."""

from __future__ import annotations

from rich.table import Table

from liteasr.evaluation import EvaluationMatrix, MatrixRow, ScoreRow

__all__ = ["score_table"]

NOTHING = "\u2013"  # without reference words there is no rate


def score_table(matrix: EvaluationMatrix) -> Table:
    """One row per model, corpus and language."""
    rows = matrix.rows()
    caption = "corpus rate with 95 % bootstrap interval; RTFx = audio / compute time"
    compared, several = len(matrix.models) > 1, len(matrix.corpora) > 1
    if compared:
        caption += f"; minus {matrix.reference}: on the same draws, an interval without 0 differs"
    invented = any(_made_up(row) for row in rows)
    if invented:
        caption += "; made up: text over silence / bursts of insertions / loops, in utterances"
    table = Table(caption=caption)
    table.add_column("model", overflow="fold")  # a path cut short would name nothing
    for heading in (*(["corpus"] if several else []), "language", "rate"):
        table.add_column(heading)
    difference = [f"minus {matrix.reference}, 95 %"] if compared else []
    made_up = ["made up"] if invented else []
    ends = ("clip mean (paper)", "RTFx")
    for heading in ("95 %", *difference, "N", "sub", "del", "ins", *made_up, *ends):
        table.add_column(heading, justify="right")
    for row in rows:
        where = (row.corpus,) if several else ()
        between = (_difference(row),) if compared else ()
        after = (_made_up(row) or "0",) if invented else ()
        table.add_row(row.model, *where, *_cells(row.score, between, after))
    return table


def _cells(score: ScoreRow, between: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    counts = score.counts
    name = "WER" if counts.unit == "word" else "CER"
    low, high = score.interval or (0.0, 0.0)
    return (
        score.language,
        f"{name} {counts.rate:.2%}" if counts.n else f"{name} {NOTHING}",
        f"{low:.2%} - {high:.2%}" if counts.n else NOTHING,
        *between,
        str(counts.n),
        str(counts.substitutions),
        str(counts.deletions),
        str(counts.insertions),
        *after,
        f"{score.mean_clip_rate:.2%}" if counts.n else NOTHING,
        f"{score.rtfx:.1f}",
    )


def _made_up(row: MatrixRow) -> str:
    """The counters, or nothing where all are zero."""
    found = row.score.anomalies
    counters = (found.silent, found.bursts, found.loops)
    return " / ".join(map(str, counters)) if any(counters) else ""


def _difference(row: MatrixRow) -> str:
    if row.difference_interval is None or row.difference is None:
        return NOTHING
    low, high = row.difference_interval
    return f"{100 * low:+.2f} - {100 * high:+.2f}"
