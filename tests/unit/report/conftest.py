"""A directory of results, made up: a sweep, an evaluation and a benchmark."""

from pathlib import Path

import pytest

from liteasr.benchmark import BenchmarkResults, BenchmarkRow, Spread
from liteasr.calibration import Provenance
from liteasr.checkpoint.format import Manifest
from liteasr.compression import CompressionReport
from liteasr.evaluation import EvaluationReport, ScoredUtterance, rescore, write_hypotheses
from liteasr.evaluation.error_rate import ErrorCounts
from liteasr.evaluation.store import CellRecord, ResultStore
from liteasr.plan import LayerPlan, RankPlan
from liteasr.refinement_report import CurvePoint, RefinementReport
from liteasr.sweep import SweepResults, SweepRow

SAID = ("the cat sat on the mat", "we <b>met</b> in june", "good bye", "")
HEARD = {
    "dense": SAID,
    "paper 0.7": ("the cat sat on a mat", "we met", "good bye", "thanks"),
    "refined 0.7": ("the cat sat on the mat", "we all met in june", "good bye", ""),
}


def plan(rank: int) -> RankPlan:
    layers = []
    for block in range(2):
        for name in ("self_attn.q_proj", "fc1"):
            dense = name == "fc1" and block == 1
            layers.append(
                LayerPlan(
                    name=f"layers.{block}.{name}",
                    form="dense" if dense else "chain",
                    rank=None if dense else rank,
                    in_features=64,
                    out_features=64,
                )
            )
    return RankPlan(model="tiny", rule="budget", layers=tuple(layers))


def learned() -> RefinementReport:
    curve = (CurvePoint(0, None, 0.5), CurvePoint(5, 0.4, 0.3), CurvePoint(10, 0.3, 0.2))
    return RefinementReport(
        before=0.5, after=0.2, best_step=10, steps=10, seconds=3.0, curve=curve, corpus="talks"
    )


def row(label: str, parameters: int, kl: float) -> SweepRow:
    dense = label == "dense"
    return SweepRow(
        label=label, method=label.split()[0], keep=0.7, encoder_parameters=parameters,
        kept_parameters=parameters / 1e6, kept_flops=0.7, flops=parameters * 1e3, mean_kl=kl,
        kl_interval=(kl / 2, 2 * kl), agreement=0.9, plan=None if dense else plan(16),
        refinement=learned() if label.startswith("refined") else None,
        checkpoint=None if dense else f"checkpoints/{label.replace(' ', '-')}",
    )  # fmt: skip


def write_scores(place: Path) -> None:
    store = ResultStore(place)
    store.compare_with("dense")
    for model, heard in HEARD.items():
        for corpus in ("talks", "calls"):
            utterances = rescore(
                ScoredUtterance(
                    id=f"{corpus}-{k}", language="en", reference=said, hypothesis=text,
                    counts=ErrorCounts(), duration_s=1.0, elapsed_s=0.5,
                )
                for k, (said, text) in enumerate(zip(SAID, heard, strict=True))
            )  # fmt: skip
            record = CellRecord(
                model=model, corpus=corpus, file=f"{model}.{corpus}.jsonl", identity=model,
                options={},
            )  # fmt: skip
            write_hypotheses(utterances, store.begin(record))
            store.finish(record, EvaluationReport(model=model, utterances=utterances))


def write_manifest(folder: Path, refinement: RefinementReport | None) -> None:
    folder.mkdir(parents=True)
    provenance = Provenance(
        model="tiny", encoder_sha256="e", corpus="calibration", corpus_sha256="c" * 64,
        frames="all", utterances=3, corpus_utterances=3, duration_s=90.0, audio_positions=9,
    )  # fmt: skip
    manifest = Manifest(
        name="tiny", origin="org/tiny", plan=plan(16), files={}, calibration=provenance,
        report=CompressionReport(parameters_before=10, parameters_after=7, replaced=3, dense=1),
        refinement=refinement,
    )  # fmt: skip
    (folder / "liteasr.json").write_text(manifest.to_json())


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = (row("dense", 1_000_000, 0.0), row("paper 0.7", 700_000, 0.2),
            row("refined 0.7", 690_000, 0.1))  # fmt: skip
    SweepResults(
        model="tiny",
        facts={"decoding": "greedy"},
        environment={"torch": "2"},
        rows=rows,
        skipped={"joint 0.1": "too small"},
        spectra={layer.name: [[1, 0.9], [2, 0.1], [3, 0.0]] for layer in plan(16)},
    ).save(tmp_path)
    for one in rows[1:]:
        write_manifest(tmp_path / (one.checkpoint or ""), one.refinement)
    write_scores(tmp_path)
    spread = Spread(median=10.0, low=9.0, high=11.0, count=5)
    BenchmarkResults(
        rows=(
            BenchmarkRow(label="tiny", backend="liteasr", model="tiny", encoder_ms=spread),
            BenchmarkRow(
                label="refined-0.7", backend="liteasr", model="m", encoder_ms=spread, rtf=spread,
                ratio=spread, peak_mb=3.0, encoder_flops=1e9, peak_share=0.5,
            ),
        ),
        skipped={"moonshine": "not installed"},
    ).save(tmp_path)  # fmt: skip
    return tmp_path
