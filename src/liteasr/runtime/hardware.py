"""Which encoder runtimes are the fastest on this processor: docs/cpu.md has the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["EncoderKind", "cpu_flags", "fastest_encoders"]

EncoderKind = Literal["torch", "torch-bfloat16", "onnx", "onnx-int8", "openvino"]

BF16_TILES = "amx_bf16"
CPUINFO = Path("/proc/cpuinfo")


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Instruction sets as Linux names them; none elsewhere.

    Args:
        cpuinfo: Where Linux lists them.
    """
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, values = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86, ARM
                return frozenset(values.split())
    return frozenset()


def fastest_encoders(
    flags: frozenset[str] | None = None, *, exact: bool = False
) -> tuple[EncoderKind, ...]:
    """What encodes fastest on a processor, the best first; the last one needs no extra.

    bfloat16 where the processor multiplies in AMX tiles, else float32. int8 is faster on many
    others, but what it costs in words is not measured, so it is never chosen unasked.

    Args:
        flags: Instruction sets; this machine's where left out.
        exact: Do not give up precision: float32 whatever the processor.
    """
    found = cpu_flags() if flags is None else flags
    if BF16_TILES in found and not exact:
        return ("openvino", "torch-bfloat16")
    return ("onnx", "torch")
