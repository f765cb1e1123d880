"""As many threads as PyTorch takes, with or without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from liteasr import threads
from liteasr.threads import cpu_threads, set_cpu_threads

HERE = """
import sys
from liteasr.threads import cpu_threads
print(cpu_threads(), "torch" in sys.modules)
"""
THERE = "import torch; print(torch.get_num_threads())"


def fresh(code: str, variable: str | None) -> list[str]:
    """What a new interpreter prints."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    env |= {} if variable is None else {"OMP_NUM_THREADS": variable}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.parametrize("variable", [None, "1", "1,2"])
def test_pytorch_would_take_as_many(variable: str | None) -> None:
    assert fresh(HERE, variable) == [*fresh(THERE, variable), "False"]


@pytest.mark.parametrize("variable", ["", "many", "0", "-1"])
def test_what_is_no_number_is_not_heeded(variable: str) -> None:
    assert fresh(HERE, variable) == fresh(HERE, None)


def test_both_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        set_cpu_threads(before + 1)
        assert cpu_threads() == torch.get_num_threads() == before + 1
        assert os.environ["OMP_NUM_THREADS"] == str(before + 1)
        monkeypatch.delitem(sys.modules, "torch")
        set_cpu_threads(5)
        assert cpu_threads() == 5
    finally:
        torch.set_num_threads(before)


def test_processors_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    assert cpu_threads() == 3  # nothing says which share a core
    for number, siblings in ((0, "0-1"), (1, "0-1"), (5, "4-5")):
        (tmp_path / f"cpu{number}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}/topology/thread_siblings_list").write_text(siblings)
    assert cpu_threads() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cpu_threads() == 7
