"""Which encoder runtime is the fastest on this processor: see docs/cpu.md for the measurements."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal

__all__ = ["EncoderKind", "cpu_flags", "fastest_encoder"]

EncoderKind = Literal["torch-bfloat16", "onnx-int8", "onnx"]

BF16_TILES = frozenset({"amx_bf16"})
# instructions that add products of four int8 pairs into int32: x86 (server, client), ARM
INT8_SUMS = (
    frozenset({"avx512_vnni"}),
    frozenset({"avx_vnni"}),
    frozenset({"asimddp"}),
)
CPUINFO = Path("/proc/cpuinfo")


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Instruction sets as Linux names them; what is known elsewhere, or nothing.

    Args:
        cpuinfo: Where Linux lists them.
    """
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, values = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86, ARM
                return frozenset(values.split())
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return frozenset({"asimd", "asimddp"})  # every Apple M
    return frozenset()


def fastest_encoder(flags: frozenset[str] | None = None, *, exact: bool = False) -> EncoderKind:
    """What encodes fastest on a processor.

    bfloat16 in AMX tiles, else int8 where the processor sums products of int8 in one
    instruction, else float32. Without such an instruction int8 gains little and, on AVX2,
    sums saturate.

    Args:
        flags: Instruction sets; this machine's where left out.
        exact: Do not give up precision: float32 whatever the processor.
    """
    found = cpu_flags() if flags is None else flags
    if exact:
        return "onnx"
    if found >= BF16_TILES:
        return "torch-bfloat16"
    return "onnx-int8" if any(found >= needed for needed in INT8_SUMS) else "onnx"
