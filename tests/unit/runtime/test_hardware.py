"""The choice of an encoder runtime by what the processor can do."""

from pathlib import Path

import pytest

from liteasr.runtime.hardware import EncoderKind, cpu_flags, decoder_threads, fastest_encoders


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        ("avx2 fma", ("onnx", "torch")),
        ("avx512f avx512_vnni", ("onnx", "torch")),  # int8 is never chosen unasked
        ("fp asimd asimddp i8mm", ("onnx", "torch")),
        ("avx512f avx512_vnni avx512_bf16", ("openvino", "onnx", "torch")),
        ("avx512f avx512_bf16 amx_tile amx_int8 amx_bf16", ("openvino", "torch-bfloat16")),
        ("", ("onnx", "torch")),
    ],
)
def test_the_choice_follows_the_instructions(flags: str, kinds: tuple[EncoderKind, ...]) -> None:
    assert fastest_encoders(frozenset(flags.split())) == kinds
    assert fastest_encoders(frozenset(flags.split()), exact=True) == ("onnx", "torch")


@pytest.mark.parametrize(
    ("flags", "width", "threads"),
    [
        ("avx2", 384, 4),
        ("", 512, 4),
        ("amx_bf16", 512, 1),
        ("avx512_bf16", 512, 1),
        ("amx_bf16", 768, 4),
    ],
)
def test_narrow_decoders_work_on_one_thread_of_a_processor_with_bfloat16(
    flags: str, width: int, threads: int
) -> None:
    assert decoder_threads(width, 4, frozenset(flags.split())) == threads


def test_linux_lists_what_a_processor_can_do(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n\nprocessor\t: 1\nflags\t: fpu\n"
    )
    assert cpu_flags(info) == {"fpu", "avx2", "avx_vnni"}
    info.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert cpu_flags(info) == {"fp", "asimd", "asimddp"}


def test_elsewhere_nothing_is_known(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    assert cpu_flags(info) == frozenset()
    info.write_text("processor\t: 0\n")
    assert cpu_flags(info) == frozenset()


def test_this_machine_has_an_answer() -> None:
    assert fastest_encoders()[0] in ("openvino", "onnx")
