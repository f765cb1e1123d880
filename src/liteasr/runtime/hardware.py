"""What is the fastest on this processor: docs/cpu.md has the measurements."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

__all__ = ["EncoderKind", "cpu_flags", "decoder_threads", "fastest_encoders", "may_have_gpu"]

EncoderKind = Literal["torch", "torch-bfloat16", "onnx", "onnx-int8", "openvino"]

BF16_TILES = "amx_bf16"
BF16_VECTORS = "avx512_bf16"
NARROW = 512  # Whisper base and smaller
CPUINFO = Path("/proc/cpuinfo")
GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))  # NVIDIA, AMD, in WSL


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

    bfloat16 where the processor multiplies in it, else float32. Without OpenVINO, PyTorch is faster
    than float32 on AMX tiles and not on vectors. int8 is faster on many others, but costs words
    (Whisper base: 0.6 to 0.9 points), so it is never chosen unasked.

    Args:
        flags: Instruction sets; this machine's where left out.
        exact: Do not give up precision: float32 whatever the processor.
    """
    found = cpu_flags() if flags is None else flags
    if BF16_TILES in found and not exact:
        return ("openvino", "torch-bfloat16")
    if BF16_VECTORS in found and not exact:
        return ("openvino", "onnx", "torch")
    return ("onnx", "torch")


def decoder_threads(width: int, available: int, flags: frozenset[str] | None = None) -> int:
    """How many threads a decoder's products, of one token each, are shared among.

    One for a narrow decoder where the processor multiplies in bfloat16: a product ends there
    before a second thread has joined. On a processor with AVX2 alone it does not.

    Args:
        width: Features of the decoder.
        available: Threads that there are.
        flags: Instruction sets; this machine's where left out.
    """
    found = cpu_flags() if flags is None else flags
    quick = not found.isdisjoint((BF16_TILES, BF16_VECTORS))
    return 1 if quick and width <= NARROW else available


def may_have_gpu() -> bool:
    """Whether PyTorch may see a GPU of NVIDIA or AMD here, without asking it: yes, where unsure."""
    return sys.platform == "win32" or any(device.exists() for device in GPUS)
