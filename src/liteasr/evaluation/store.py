"""A directory of results: hypotheses as JSONL, and in ``evaluation.json`` how they came about."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from liteasr.atomic import write_text
from liteasr.errors import EvaluationError
from liteasr.evaluation.hypotheses import read_hypotheses, rescore
from liteasr.evaluation.journal import Journal
from liteasr.evaluation.normalize import Rules
from liteasr.evaluation.report import EvaluationReport
from liteasr.record import known_fields

__all__ = ["INDEX_NAME", "CellRecord", "ResultStore"]

INDEX_NAME = "evaluation.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRecord:
    """One model on one corpus.

    Attributes:
        model: Label of the model.
        corpus: Label of the corpus.
        file: Name of the hypotheses' file in the directory.
        identity: Of the model, see `identity_of`.
        options: Those of the decoding.
        name: What the model calls itself; empty until the cell is finished.
        environment: Versions and machine.
        warm_up: What ran before the clock did.
    """

    model: str
    corpus: str
    file: str
    identity: str
    options: Mapping[str, Any]
    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    warm_up: str = "none"


class ResultStore:
    """Keeps the results of an evaluation, so that a run can go on and scores can be made again.

    Args:
        directory: Made where it is not there.

    Raises:
        EvaluationError: Its index is damaged or of a newer format.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.index = self.directory / INDEX_NAME
        self.reference: str | None = None
        self.records: dict[tuple[str, str], CellRecord] = {}
        if self.index.is_file():
            self._read()

    def begin(self, record: CellRecord) -> Path:
        """Give the file that a cell's hypotheses are kept in.

        What is there of another origin, without a record, is removed.

        Raises:
            EvaluationError: It holds hypotheses of another model or of other options.
        """
        path = self.directory / record.file
        kept = self.records.get((record.model, record.corpus))
        if kept is None or kept.file != record.file:
            Journal(path).forget()
        elif differences := _differences(kept, record):
            raise EvaluationError(
                f"{path} holds what {record.model} wrote under other conditions ({differences}): "
                "choose another directory, or delete the file"
            )
        self._write(replace(record, name=kept.name) if kept is not None else record)
        return path

    def finish(self, record: CellRecord, report: EvaluationReport) -> None:
        """Note how a finished cell came about."""
        self._write(
            replace(
                record,
                name=report.model,
                environment=report.environment,
                warm_up=report.warm_up,
            )
        )

    def report(self, record: CellRecord, rules: Rules = "whisper") -> EvaluationReport | None:
        """Score a finished cell again from its hypotheses; None where it is not finished.

        Raises:
            CorpusError: The hypotheses are damaged.
        """
        kept = self.records.get((record.model, record.corpus))
        path = self.directory / record.file
        if kept is None or not kept.name or not path.is_file():
            return None
        return EvaluationReport(
            model=kept.name,
            utterances=rescore(read_hypotheses(path), rules),
            options=kept.options,
            environment=kept.environment,
            warm_up=kept.warm_up,
        )

    def compare_with(self, reference: str) -> None:
        """Note which model the others are compared with."""
        self.reference = reference

    def _write(self, record: CellRecord) -> None:
        self.records[record.model, record.corpus] = record
        value = {
            "version": VERSION,
            "reference": self.reference,
            "cells": [asdict(one) for one in self.records.values()],
        }
        write_text(self.index, json.dumps(value, indent=1) + "\n")

    def _read(self) -> None:
        try:
            value = json.loads(self.index.read_text(encoding="utf-8"))
            if value["version"] > VERSION:
                raise ValueError(f"version {value['version']} is newer than {VERSION}")
            self.reference = value["reference"]
            for cell in value["cells"]:
                record = CellRecord(**known_fields(CellRecord, cell))
                self.records[record.model, record.corpus] = record
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{self.index} cannot be used: {error}") from error


def file_name(model: str, corpus: str | None) -> str:
    """Name the file of a cell; without a corpus where there is only one."""
    parts = [model] if corpus is None else [model, corpus]
    return ".".join(re.sub(r"[^\w.@+-]+", "_", part) for part in parts) + ".jsonl"


def _differences(kept: CellRecord, wanted: CellRecord) -> str:
    """What is not the same, such as ``beam_size 1, here 5``."""
    found = [] if kept.identity == wanted.identity else ["another model of that name"]
    before, now = _plain(kept.options), _plain(wanted.options)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            found.append(f"{name} {before.get(name)}, here {now.get(name)}")
    return "; ".join(found)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return plain
