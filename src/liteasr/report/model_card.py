"""The ``README.md`` of a checkpoint, as the Hugging Face hub reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from liteasr.atomic import write_text
from liteasr.checkpoint.format import Manifest
from liteasr.errors import StorageError
from liteasr.evaluation import ALL, EvaluationMatrix
from liteasr.refinement_report import RefinementReport
from liteasr.report.contents import Contents
from liteasr.report.tables import Table, markdown_table, score_table
from liteasr.sources.hub import is_hub_id

__all__ = ["card_for", "write_card"]

MARK = "<!-- written by liteasr report -->"


def write_card(
    checkpoint: str | os.PathLike[str], contents: Contents | None = None, label: str | None = None
) -> Path:
    """Write the card of a checkpoint into it.

    Args:
        checkpoint: A directory that `save` wrote.
        contents: Results that the card quotes.
        label: What the results call this model; the name of the directory where left out.

    Raises:
        CheckpointError: The directory is no checkpoint of ours.
        StorageError: There is a README that somebody else wrote, or the disk refused.
    """
    folder = Path(checkpoint)
    path = folder / "README.md"
    if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
        raise StorageError(f"{path} was not written by liteasr: move it away to have a new one")
    name = label or folder.resolve().name
    write_text(path, card_for(Manifest.read(folder), folder.resolve().name, contents, name))
    return path


def card_for(manifest: Manifest, name: str, contents: Contents | None, label: str) -> str:
    """The card: YAML for machines, then where the model came from, its size and its scores."""
    from huggingface_hub import ModelCardData

    matrix = contents.matrix if contents is not None else None
    scored = matrix if matrix is not None and label in matrix.models else None
    base = manifest.origin if is_hub_id(manifest.origin) else manifest.name
    data = ModelCardData(
        language=_languages(scored, label) or None,
        library_name="liteasr",
        pipeline_tag="automatic-speech-recognition",
        base_model=base,
        tags=["liteasr", "low-rank", "compressed", "speech"],
        metrics=["wer"] if scored is not None else None,
        model_name=name,
        eval_results=_results(scored, label) or None,
    )
    blocks = [
        f"---\n{data.to_yaml()}\n---",
        MARK,
        f"# {name}",
        _origin(manifest),
        "## Use",
        f'```python\nimport liteasr\n\ntranscriber = liteasr.load_transcriber("{name}")\n'
        'print(transcriber.transcribe("talk.mp3").text)\n```',
    ]
    if scored is not None and contents is not None:
        blocks += ["## Scores", _scores(scored, label), _reading(scored, contents)]
    if manifest.refinement is not None:
        found = manifest.refinement
        blocks += [
            "## Refinement",
            f"Trained without labels for {found.steps} steps on {found.corpus or 'speech'}: the "
            f"loss on held-out audio {_change(found)}.",
        ]
    return "\n\n".join(blocks) + "\n"


def _change(found: RefinementReport) -> str:
    if found.after == found.before:
        return f"stayed at {found.before:.3g}: nothing did better"
    return f"fell from {found.before:.3g} to {found.after:.3g}"


def _origin(manifest: Manifest) -> str:
    report, plan, audio = manifest.report, manifest.plan, manifest.calibration
    text = (
        f"{manifest.name} with a smaller encoder: {report.parameters_before / 1e6:.2f} M "
        f"parameters became {report.parameters_after / 1e6:.2f} M ({report.kept:.1%}). "
        f"{report.replaced} layers were reduced and {report.dense} stayed dense, by the rule "
        f"`{plan.rule}`. The decoder is unchanged."
    )
    if plan.pooled_from is not None:
        text += (
            f" From block {plan.pooled_from} on, counted from 0, the encoder works on pairs of "
            "positions as one, which saves time and no parameters: the decoder reads half as many."
        )
    if audio is not None:
        text += (
            f" The ranks come from {audio.utterances} unlabelled recordings "
            f"({audio.duration_s / 60:.1f} minutes, SHA-256 `{audio.corpus_sha256[:16]}`)."
        )
    return text


def _scores(matrix: EvaluationMatrix, label: str) -> str:
    table = score_table(matrix)
    wanted = (label, matrix.reference)
    rows = tuple(row for row in table.rows if row[0] in wanted)
    return markdown_table(Table(headings=table.headings, rows=rows))


def _reading(matrix: EvaluationMatrix, contents: Contents) -> str:
    return (
        f"Corpus rates after the normalizer `{contents.rules}`, with 95 % bootstrap intervals; the "
        f"difference to {matrix.reference} is drawn on the same utterances. None of them "
        "calibrated the model. The clip mean is the LiteASR paper's metric, no corpus rate."
    )


def _languages(matrix: EvaluationMatrix | None, label: str) -> list[str]:
    cells = matrix.cells if matrix is not None else ()
    found = {one.language for c in cells if c.model == label for one in c.report.utterances}
    return sorted(language for language in found if language)


def _results(matrix: EvaluationMatrix | None, label: str) -> list[Any]:
    """A result for each corpus, as the hub's leaderboards read them."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="automatic-speech-recognition",
            dataset_type=row.corpus,
            dataset_name=row.corpus,
            metric_type="wer" if row.score.counts.unit == "word" else "cer",
            metric_value=round(100 * row.score.counts.rate, 2),
        )
        for row in (matrix.rows() if matrix is not None else ())
        if row.model == label
        and row.score.language == ALL
        and row.score.counts.n
        and (row.corpus != ALL or (matrix is not None and len(matrix.corpora) == 1))
    ]
