"""What encodes for a model on a CPU: by name, or the fastest that is installed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch

from liteasr.encoders import encoder_fingerprint
from liteasr.export.encoder import export_encoder
from liteasr.export.kept import ENCODER_LAYOUT
from liteasr.export.precision import Precision
from liteasr.runtime.encoder_files import EncoderChoice, EncoderFile, encoder_kind
from liteasr.runtime.encoding import EncoderRuntime
from liteasr.runtime.hardware import EncoderKind
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources.base import SpeechModel
from liteasr.sources.bundled import cache_directory

__all__ = ["encoder_for", "encoder_of"]


def encoder_for(model: SpeechModel, choice: EncoderChoice = "auto") -> EncoderRuntime:
    """Give what encodes for a model on a CPU.

    Args:
        model: A dense or compressed model.
        choice: ``torch`` is the encoder as it is, ``torch-bfloat16`` a copy in bfloat16. ``onnx``,
            ``onnx-int8`` (both ONNX Runtime) and ``openvino`` (bfloat16 where the processor has
            it) are exported the first time, and kept in the cache folder. ``auto`` is the first of
            `fastest_encoders` that is installed, and says in the log what it took.

    Raises:
        ExportError: The encoder cannot be exported.
        MissingDependencyError: What was named is not installed.
        StorageError: The cache folder cannot be written.
    """
    return encoder_of(model, encoder_kind(choice))[0]


def encoder_of(model: SpeechModel, kind: EncoderKind) -> tuple[EncoderRuntime, EncoderFile | None]:
    """Give what encodes, and the file it reads where it needs no model; see `encoder_for`."""
    if kind.startswith("torch"):
        in_bfloat16 = kind == "torch-bfloat16"
        return TorchEncoder(model, dtype=torch.bfloat16 if in_bfloat16 else None), None
    file = EncoderFile(kind, _exported(model, "int8" if kind == "onnx-int8" else "float32"))
    return file.open(), file


def _exported(model: SpeechModel, precision: Precision) -> Path:
    content = f"{encoder_fingerprint(model.model)[:32]}-{precision}"
    path = cache_directory() / "onnx" / f"{content}-{version('liteasr')}-{ENCODER_LAYOUT}.onnx"
    if not path.is_file():
        export_encoder(model, path, precision=precision)
    return path
