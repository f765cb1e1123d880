import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from liteasr.benchmark import (
    BACKENDS,
    BackendSpec,
    BenchmarkResults,
    BenchmarkRow,
    Spread,
    benchmark,
    memory,
    worker,
)
from liteasr.benchmark import session as module
from liteasr.benchmark.backends import StagedBackend, open_backend
from liteasr.benchmark.memory import peak_bytes
from liteasr.benchmark.stopwatch import matmul_peak, take_turns
from liteasr.errors import EvaluationError, LiteASRError
from liteasr.plan import Costs
from liteasr.plan.flops import count_flops
from liteasr.sources import SpeechModel

CLIPS = [np.zeros(16_000, np.float32), np.ones(32_000, np.float32)]


class Ticker:
    """A clock that backends move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now


class Whole:
    """A backend without stages, that takes a fixed time for a second of audio."""

    unshown = {"encoder_ms": "no call", "first_token_ms": "no call"}  # noqa: RUF012

    def __init__(self, name: str, ticker: Ticker, pace: float) -> None:
        self.name, self.ticker, self.pace = name, ticker, pace

    def transcribe(self, waveform: np.ndarray) -> str:
        self.ticker.log.append(self.name)
        self.ticker.now += self.pace * len(waveform) / 16_000
        return f"{self.name} {len(waveform)}"


class Staged(Whole):
    unshown = {}  # noqa: RUF012

    def features(self, waveform: np.ndarray) -> int:
        return len(waveform)

    def encode(self, features: int) -> None:
        self.ticker.log.append(f"{self.name} encodes")
        self.ticker.now += 0.25

    def first_token(self, waveform: np.ndarray) -> None:
        self.ticker.log.append(f"{self.name} begins")
        self.ticker.now += 0.5


def test_backends_take_turns_after_a_warm_up() -> None:
    ticker = Ticker()
    a, b = Staged("a", ticker, 1.0), Whole("b", ticker, 2.0)
    assert isinstance(a, StagedBackend)
    assert not isinstance(b, StagedBackend)
    first, second = take_turns([a, b], CLIPS, rounds=2, clock=ticker)
    assert ticker.log[:4] == ["a", "b", "a encodes", "a begins"]
    assert ticker.log[4:] == ["a encodes", "a begins", "a", "b", "a", "b"] * 2
    assert first.encoder_s == [0.25, 0.25]
    assert first.first_token_s == [0.5, 0.5]
    assert first.transcription_s == [1.0, 2.0, 1.0, 2.0]
    assert second.transcription_s == [2.0, 4.0, 2.0, 4.0]
    assert (second.encoder_s, second.first_token_s) == ([], [])
    assert second.texts == ["b 16000", "b 32000"]


def test_the_peak_is_that_of_the_best_product() -> None:
    times = iter([0.0, 2.0, 2.0, 3.0])
    assert matmul_peak(size=10, repeats=2, clock=lambda: next(times)) == 2000.0


def spec(label: str, kind: str = "liteasr", model: str = "m") -> BackendSpec:
    return BackendSpec(kind=kind, model=model, label=label)


class FakeRun:
    """Does jobs without a process: every backend by label."""

    def __init__(self, broken: Sequence[str] = ()) -> None:
        self.broken = broken
        self.jobs: list[tuple[str, list[str], int]] = []

    def __call__(self, job: dict[str, Any], clips: Sequence[np.ndarray] = ()) -> dict[str, Any]:
        json.dumps(job)
        labels = [given["label"] for given in job.get("specs", [])]
        self.jobs.append((job["kind"], labels, len(clips)))
        if job["kind"] == "peak":
            return {"flops_per_s": 1e9}
        for label in labels:
            if label in self.broken:
                raise EvaluationError(f"no package for {label}")
        if job["kind"] == "memory":
            return {"bytes": 5e6, "unshown": {} if labels != ["b"] else {"encoder_ms": "why"}}
        if job["kind"] == "flops":
            if job["specs"][0]["model"] == "foreign":
                raise EvaluationError("unknown model")
            return {"flops": 1e6}
        ticker = Ticker()
        backends = [
            (Whole if label == "b" else Staged)(label, ticker, 1.0 + (label == "b"))
            for label in labels
        ]
        found = take_turns(backends, clips, rounds=job["rounds"], clock=ticker)
        return {"readings": [vars(one) for one in found]}


def test_every_backend_meets_the_first_and_memory_has_its_own_process(tmp_path: Path) -> None:
    run = FakeRun(broken=["c"])
    results = benchmark(
        [spec("a"), spec("b", model="foreign"), spec("c"), spec("d")], CLIPS, rounds=3, run=run
    )
    assert [job for job in run.jobs if job[0] == "memory"] == [
        ("memory", [label], 1) for label in "abcd"
    ]
    assert [job[1] for job in run.jobs if job[0] == "times"] == [["a", "b"], ["a", "d"]]
    assert dict(results.skipped) == {"c": "no package for c"}
    a, b, d = results.rows
    assert a.encoder_ms == Spread(median=250.0, low=250.0, high=250.0, count=6)
    assert a.rtf == Spread(median=1.0, low=1.0, high=1.0, count=12)
    assert a.ratio is None
    assert b.ratio == Spread(median=0.5, low=0.5, high=0.5, count=6)
    assert d.ratio == Spread(median=1.0, low=1.0, high=1.0, count=6)
    assert a.peak_share == pytest.approx(1e6 / 0.25 / 1e9)
    assert (b.encoder_ms, b.encoder_flops, b.peak_share) == (None, None, None)
    assert b.notes == ("encoder_ms: why",)
    assert a.peak_mb == 5.0
    assert results.machine["matmul_peak_gflops"] == 1.0
    assert results.audio == {"clips": 2, "seconds": 3.0}
    assert "commit" in results.versions
    results.save(tmp_path)
    assert BenchmarkResults.load(tmp_path).rows == results.rows
    assert BenchmarkResults.load(tmp_path).to_dict() == results.to_dict()


def test_one_backend_alone_is_measured() -> None:
    run = FakeRun()
    (row,) = benchmark([spec("a")], CLIPS, rounds=1, run=run).rows
    assert row.rtf is not None
    assert row.ratio is None


def test_the_first_backend_must_be_there() -> None:
    with pytest.raises(EvaluationError, match="a cannot be measured: no package for a"):
        benchmark([spec("a"), spec("b")], CLIPS, run=FakeRun(broken=["a"]))
    with pytest.raises(ValueError, match="at least one round"):
        benchmark([], CLIPS)
    with pytest.raises(ValueError, match="at least one reading"):
        Spread.of([])


@pytest.mark.parametrize("content", [None, "{", '{"version": 9, "rows": []}', '{"rows": []}'])
def test_damaged_results_are_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(EvaluationError, match="holds no benchmark"):
        BenchmarkResults.load(tmp_path)


def test_rows_forgive_what_a_newer_version_added() -> None:
    row = BenchmarkRow.from_dict({"label": "a", "backend": "b", "model": "m", "new": 1})
    assert row == BenchmarkRow(label="a", backend="b", model="m")


def test_a_job_runs_in_a_process_of_its_own() -> None:
    found = worker.launch({"kind": "peak", "size": 64, "threads": 1})
    assert found["flops_per_s"] > 0


def test_a_failed_process_says_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: 3 GB\n")

    monkeypatch.setattr(worker.subprocess, "run", ran)
    with pytest.raises(EvaluationError, match="MemoryError: 3 GB"):
        worker.launch({"kind": "peak", "size": 64, "threads": 1})


def test_errors_of_ours_are_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [{"kind": "sparkle", "model": "none", "label": "m"}]
    job = {"kind": "memory", "specs": specs, "threads": torch.get_num_threads(), "clips": 0}
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path)])
    worker.main()
    assert "backend must be one of" in json.loads((tmp_path / "result.json").read_text())["error"]


def test_work_measures_backends_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ticker = Ticker()
    monkeypatch.setattr(worker, "open_backend", lambda given: Staged(given.label, ticker, 1.0))
    threads = torch.get_num_threads()
    specs = [{"kind": "liteasr", "model": "m", "label": label} for label in "ab"]
    job = {"specs": specs, "threads": threads, "rounds": 1}
    found = worker.work({**job, "kind": "times"}, CLIPS)
    assert [len(one["transcription_s"]) for one in found["readings"]] == [2, 2]
    found = worker.work({**job, "kind": "memory"}, CLIPS)
    assert found["bytes"] > 1e7
    assert found["unshown"] == {}


def test_flops_are_those_of_the_budget(
    make_speech: Callable[..., SpeechModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = make_speech(blocks=1, width=32)
    counted = count_flops(speech.model).total
    assert counted == pytest.approx(Costs(unit="flops", model=speech.model).dense, rel=1e-6)
    monkeypatch.setattr(worker, "load_model", lambda ref: speech)
    job = {"kind": "flops", "specs": [{"kind": "liteasr", "model": "m", "label": "m"}],
           "threads": torch.get_num_threads()}  # fmt: skip
    assert worker.work(job, []) == {"flops": counted}


PROGRAM = """
from runpy import run_path
peak_bytes = run_path({path!r})["peak_bytes"]
marks = [peak_bytes()]
filler = b"x" * 2**26
marks.append(peak_bytes())
del filler
print(*marks, peak_bytes())
"""


def test_memory_is_a_high_water_mark_of_one_program() -> None:
    code = PROGRAM.format(path=memory.__file__)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, filled, after = map(int, done.stdout.split())
    assert before < 2**26 < peak_bytes(), "this process holds more, and none of it is counted"
    assert before + 2**25 < min(filled, after)


def test_memory_is_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Path", lambda _: Path("/no/such/file"))
    assert peak_bytes() > 1e7


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ValueError, match="backend must be one of liteasr, hybrid, "):
        open_backend(spec("x", kind="x"))


@pytest.mark.parametrize("kind", sorted(set(BACKENDS) - {"liteasr", "transformers"}))
def test_what_is_not_installed_is_said(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from liteasr import _optional

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    monkeypatch.setattr(_optional.importlib, "import_module", missing)
    with pytest.raises(LiteASRError, match=r"pip install 'liteasr\[peers\]'"):
        open_backend(spec("p", kind=kind))


def test_the_commit_is_left_out_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", missing)
    assert "commit" not in module._versions()
