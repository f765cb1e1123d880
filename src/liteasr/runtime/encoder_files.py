"""Exported encoders that a CPU runtime opens: which kinds there are, and which one is the fastest.

Nothing here needs PyTorch or the model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liteasr._optional import require_installed
from liteasr.errors import MissingDependencyError
from liteasr.runtime.encoding import EncoderRuntime
from liteasr.runtime.hardware import EncoderKind, fastest_encoders
from liteasr.sources.bundled import cache_directory
from liteasr.threads import cpu_threads

__all__ = ["EncoderChoice", "EncoderFile", "encoder_kind"]

logger = logging.getLogger(__name__)

EncoderChoice = Literal["auto", EncoderKind]

PACKAGES: Mapping[EncoderKind, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "onnx-int8": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "onnxruntime", "openvino"),  # exporting checks the file with the second
}


@dataclass(frozen=True, slots=True)
class EncoderFile:
    """An exported encoder and what opens it.

    Attributes:
        kind: ``onnx`` and ``onnx-int8`` are ONNX Runtime's, ``openvino`` is OpenVINO's.
        path: The file.
    """

    kind: EncoderKind
    path: Path

    def open(self) -> EncoderRuntime:
        """Open it.

        Raises:
            ExportError: The file is missing or damaged.
            MissingDependencyError: The runtime is not installed.
        """
        if self.kind == "openvino":
            from liteasr.runtime.openvino import OpenVinoEncoder

            compiled = cache_directory() / "openvino"
            return OpenVinoEncoder(self.path, threads=cpu_threads(), cache=compiled)
        from liteasr.runtime.onnxruntime import OnnxEncoder

        return OnnxEncoder(self.path, threads=cpu_threads())


def encoder_kind(choice: EncoderChoice, *, quiet: bool = False) -> EncoderKind:
    """What a choice means on this machine.

    Args:
        choice: ``auto`` is the first of `fastest_encoders` that is installed.
        quiet: Whether not to say in the log what ``auto`` took.

    Raises:
        MissingDependencyError: What was named is not installed.
    """
    if choice != "auto":
        _require(choice)
        return choice
    say = logger.debug if quiet else logger.info
    *better, last = fastest_encoders()
    for kind in better:
        try:
            _require(kind)
        except MissingDependencyError as missing:
            say("encoder: not %s, %s", kind, missing)
        else:
            say("encoder: %s, the fastest on this processor", kind)
            return kind
    say("encoder: %s, the fastest that is installed", last)
    return last


def _require(kind: EncoderKind) -> None:
    for package in PACKAGES.get(kind, ()):
        require_installed(package, extra="openvino" if kind == "openvino" else "onnx")
