"""The choice of an encoder runtime by what the processor can do."""

from pathlib import Path

import pytest

from liteasr.runtime.hardware import EncoderKind, cpu_flags, fastest_encoder


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("avx2 fma", "onnx"),
        ("avx2 fma avx512f", "onnx"),
        ("avx2 fma avx_vnni", "onnx-int8"),
        ("avx512f avx512_vnni", "onnx-int8"),
        ("fp asimd asimddp i8mm", "onnx-int8"),
        ("avx512f avx512_vnni amx_tile amx_int8 amx_bf16", "torch-bfloat16"),
        ("", "onnx"),
    ],
)
def test_the_choice_follows_the_instructions(flags: str, kind: EncoderKind) -> None:
    assert fastest_encoder(frozenset(flags.split())) == kind
    assert fastest_encoder(frozenset(flags.split()), exact=True) == "onnx"


def test_linux_lists_what_a_processor_can_do(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n\nprocessor\t: 1\nflags\t: fpu\n"
    )
    assert cpu_flags(info) == {"fpu", "avx2", "avx_vnni"}
    info.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert cpu_flags(info) == {"fp", "asimd", "asimddp"}


@pytest.mark.parametrize(
    ("system", "machine", "known"),
    [("Darwin", "arm64", True), ("Darwin", "x86_64", False), ("Windows", "AMD64", False)],
)
def test_elsewhere_only_what_is_sure(
    system: str, machine: str, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert ("asimddp" in cpu_flags(tmp_path / "missing")) is known


def test_this_machine_has_an_answer() -> None:
    assert fastest_encoder() in ("torch-bfloat16", "onnx-int8", "onnx")
