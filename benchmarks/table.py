"""Results of `compression.py` as one Markdown table, by size.

Several files of the same clips may be given, the later ones' rows in place of the earlier ones'.
Minutes are those of calibrating, probing, planning and refining; rows of before they were kept have
none.

    python benchmarks/table.py RESULTS.json ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from liteasr.report.tables import Table, markdown_table


def main() -> None:
    """Print the table of all files."""
    rows: dict[str, dict[str, Any]] = {}
    scored = set()
    for path in sys.argv[1:]:
        result = json.loads(Path(path).read_text())
        scored.add(result["facts"]["scored"]["sha256"])
        rows |= {row["label"]: row for row in result["rows"]}
    if len(scored) != 1:
        raise SystemExit(f"one file or more of the same clips are needed, not of {len(scored)}")
    dense = rows["dense"]["scores"]
    languages = sorted(dense, key=lambda language: -dense[language]["n"])
    words = [f"{language} ({dense[language]['n']})" for language in languages]
    headings = ("encoder", "row", "FLOPs left", "KL", "minutes", *words)
    cells = [
        (*facts(row), *(rate(row, dense, language) for language in languages))
        for row in sorted(rows.values(), key=lambda row: -round(row["encoder_m"], 1))
    ]
    print(markdown_table(Table(headings=headings, rows=tuple(cells))))


def facts(row: dict[str, Any]) -> list[str]:
    """Size, name, FLOPs, divergence and the time that it took to make."""
    seconds = row.get("prepared_s", 0.0) + row.get("compress_s", 0.0)
    seconds += row.get("refinement", {}).get("seconds", 0.0)
    minutes = f"{seconds / 60:.0f}" if "compress_s" in row or "refinement" in row else ""
    kept = f"{row['kept']['flops']:.0%}"
    return [f"{row['encoder_m']:.2f} M", row["label"], kept, f"{row['kl']:.4f}", minutes]


def rate(row: dict[str, Any], dense: dict[str, Any], language: str) -> str:
    """A rate with its interval, or with that of the difference to the original and the change."""
    score = row["scores"][language]
    if score["minus_dense_95"] is None:
        low, high = score["interval_95"]
        return f"{score['rate']:.2%} ({low:.1%} - {high:.1%})"
    low, high = (100 * bound for bound in score["minus_dense_95"])
    change = score["rate"] / dense[language]["rate"] - 1
    return f"{score['rate']:.2%} ({low:+.1f} - {high:+.1f}; {change:+.0%})"


if __name__ == "__main__":
    main()
