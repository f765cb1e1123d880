"""Evaluate many models on many corpora, in a run that may be interrupted."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from liteasr.corpus import Corpus
from liteasr.errors import EvaluationError
from liteasr.evaluation.candidates import Candidate
from liteasr.evaluation.hypotheses import read_hypotheses, rescore
from liteasr.evaluation.matrix import ALL, Cell, EvaluationMatrix
from liteasr.evaluation.normalize import Rules
from liteasr.evaluation.report import EvaluationReport
from liteasr.evaluation.scoring import evaluate, scorable
from liteasr.evaluation.store import CellRecord, ResultStore, file_name
from liteasr.progress import Track, silent
from liteasr.runtime import Transcriber, TranscriptionOptions

__all__ = ["evaluate_all", "read_results"]

log = logging.getLogger(__name__)


def evaluate_all(
    candidates: Sequence[Candidate],
    corpora: Mapping[str, Corpus],
    options: TranscriptionOptions | None = None,
    *,
    reference: str | None = None,
    rules: Rules = "whisper",
    directory: str | os.PathLike[str] | None = None,
    track: Track = silent,
) -> EvaluationMatrix:
    """Score every model on every corpus, and pair each with the reference model.

    Args:
        candidates: The models; one is open at a time.
        corpora: Utterances with text, by label.
        options: How to decode.
        reference: Label of the model to compare with; the first where left out.
        rules: How texts are normalized.
        directory: Keeps every hypothesis; a run that was interrupted goes on from there, and
            finished cells are only scored again.
        track: Shows progress.

    Raises:
        CorpusError: A corpus is empty or has utterances without text.
        EvaluationError: The reference is none of the models, or the directory holds results of
            other models or options under these names.
        LiteASRError: What opening a model raises.
    """
    options = options or TranscriptionOptions()
    compared = reference or candidates[0].label
    if compared not in [candidate.label for candidate in candidates]:
        labels = ", ".join(candidate.label for candidate in candidates)
        raise EvaluationError(f"the reference {compared} is not among the models {labels}")
    for corpus in corpora.values():
        scorable(corpus, rules)  # nothing should be found wrong after hours
    store = None if directory is None else ResultStore(directory)
    if store is not None:
        store.compare_with(compared)
    cells = []
    for candidate in candidates:
        turn = _Turn(candidate, options, rules, store, track)
        for label, corpus in corpora.items():
            alone = None if len(corpora) == 1 else label
            report = turn.evaluate(label, corpus, file_name(candidate.label, alone))
            cells.append(Cell(model=candidate.label, corpus=label, report=report))
    return EvaluationMatrix(cells=tuple(cells), reference=compared)


def read_results(
    directory: str | os.PathLike[str], *, reference: str | None = None, rules: Rules = "whisper"
) -> EvaluationMatrix:
    """Score again what a directory holds, without any model.

    Files of hypotheses without an index are taken for models on one corpus.

    Raises:
        CorpusError: A file is damaged.
        EvaluationError: There are no results, or the index is damaged.
    """
    store = ResultStore(directory)
    reports = [
        Cell(model=record.model, corpus=record.corpus, report=report)
        for record in store.records.values()
        if (report := store.report(record, rules)) is not None
    ]
    if not store.records:
        reports = [
            Cell(
                model=path.stem,
                corpus=ALL,
                report=EvaluationReport(
                    model=path.stem, utterances=rescore(read_hypotheses(path), rules)
                ),
            )
            for path in sorted(Path(directory).glob("*.jsonl"))
        ]
    if not reports:
        raise EvaluationError(f"{directory} holds no finished hypotheses: evaluate models first")
    compared = reference or store.reference or reports[0].model
    return EvaluationMatrix(cells=tuple(reports), reference=compared)


class _Turn:
    """One model's turn: it is opened at the first corpus that it has not finished."""

    def __init__(
        self,
        candidate: Candidate,
        options: TranscriptionOptions,
        rules: Rules,
        store: ResultStore | None,
        track: Track,
    ) -> None:
        self.candidate, self.options, self.rules = candidate, options, rules
        self.store, self.track = store, track
        self.transcriber: Transcriber | None = None

    def evaluate(self, label: str, corpus: Corpus, file: str) -> EvaluationReport:
        """Score one corpus, from kept hypotheses where all are there."""
        if self.store is None:
            return self._run(corpus, None)
        record = CellRecord(
            model=self.candidate.label,
            corpus=label,
            file=file,
            identity=self.candidate.identity,
            options=asdict(self.options),
        )
        path = self.store.begin(record)
        wanted = [(one.id, one.text) for one in scorable(corpus, self.rules)]
        kept = self.store.report(record, self.rules)
        if kept is not None and [(u.id, u.reference) for u in kept.utterances] == wanted:
            log.info("%s on %s is kept from an earlier run", record.model, label)
            return kept
        report = self._run(corpus, path)
        self.store.finish(record, report)
        return report

    def _run(self, corpus: Corpus, path: Path | None) -> EvaluationReport:
        if self.transcriber is None:
            self.transcriber = self.candidate.open()
        return evaluate(
            self.transcriber,
            corpus,
            self.options,
            rules=self.rules,
            kept=path,
            track=self.track,
        )
