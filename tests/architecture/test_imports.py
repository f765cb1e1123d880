"""The floors hold, the import is lean, and `__all__` is true."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import liteasr
from liteasr.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = ("transformers", "triton", "ray", "fastapi", "datasets", "jiwer", "av", "matplotlib")


def python(code: str) -> str:
    """Run code in a fresh interpreter and give what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def modules() -> list[str]:
    found = pkgutil.walk_packages(liteasr.__path__, prefix="liteasr.")
    return ["liteasr", *(module.name for module in found)]


def test_no_module_imports_from_a_higher_floor() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
         "--no-logo"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_importing_liteasr_is_lean() -> None:
    code = f"import sys, liteasr; print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code).strip() == "[]"


RUNTIMES = ("onnxruntime", "openvino", "ctranslate2", "faster_whisper")


def test_the_command_line_starts_without_a_compiler_or_a_runtime() -> None:
    commands = ", ".join(f"liteasr.cli.{name}" for name in COMMANDS)
    heavy = (*HEAVY, *RUNTIMES, "torch._dynamo")
    code = f"import sys, {commands}; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_a_transcription_starts_without_pytorch() -> None:
    heavy = (*HEAVY, *RUNTIMES, "torch")
    code = f"import sys, liteasr.cli.transcribe; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).strip() == "[]"


@pytest.mark.parametrize("name", modules())
def test_all_is_sorted_and_true(name: str) -> None:
    module = importlib.import_module(name)
    names = module.__all__
    constants_first = sorted(names, key=lambda n: (not n.isupper(), not n[:1].isupper(), n))
    assert list(names) == constants_first
    for public in names:
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", [n for n in liteasr.__all__ if not n.startswith("__")])
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = getattr(liteasr, name)
    assert name == "PRESETS" or value.__doc__


def test_unknown_attributes_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sparkle'"):
        _ = liteasr.sparkle
    with pytest.raises(AttributeError, match=r"'liteasr.runtime' has no attribute 'sparkle'"):
        _ = liteasr.runtime.sparkle
    assert "compress" in dir(liteasr)


def test_modules_are_short() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 300, f"{path.name} has {lines} lines: split it"
