"""What encodes for a model on a CPU: by name, or the fastest that is installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from liteasr._optional import require
from liteasr.encoders import encoder_fingerprint
from liteasr.errors import MissingDependencyError
from liteasr.export import Precision, export_encoder
from liteasr.runtime.encoding import EncoderRuntime, TorchEncoder
from liteasr.runtime.hardware import EncoderKind, fastest_encoders
from liteasr.sources.base import SpeechModel
from liteasr.sources.bundled import cache_directory

__all__ = ["EncoderChoice", "encoder_for"]

logger = logging.getLogger(__name__)

EncoderChoice = Literal["auto", EncoderKind]

EXPORT_LAYOUT = 3  # raise it when the same version exports another graph: files are cached
PACKAGES: Mapping[EncoderKind, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "onnx-int8": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "onnxruntime", "openvino"),  # exporting checks the file with the second
}


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
    if choice == "auto":
        return _fastest(model)
    for module in PACKAGES.get(choice, ()):
        require(module, extra="openvino" if choice == "openvino" else "onnx")
    if choice == "torch":
        return TorchEncoder(model)
    if choice == "torch-bfloat16":
        return TorchEncoder(model, dtype=torch.bfloat16)
    file = _exported(model, "int8" if choice == "onnx-int8" else "float32")
    if choice == "openvino":
        from liteasr.runtime.openvino import OpenVinoEncoder

        compiled = cache_directory() / "openvino"
        return OpenVinoEncoder(file, threads=torch.get_num_threads(), cache=compiled)
    from liteasr.runtime.onnxruntime import OnnxEncoder

    return OnnxEncoder(file, threads=torch.get_num_threads())


def _fastest(model: SpeechModel) -> EncoderRuntime:
    *better, last = fastest_encoders()
    for kind in better:
        try:
            made = encoder_for(model, kind)
        except MissingDependencyError as missing:
            logger.info("encoder: not %s, %s", kind, missing)
        else:
            logger.info("encoder: %s, the fastest on this processor", kind)
            return made
    logger.info("encoder: %s, the fastest that is installed", last)
    return encoder_for(model, last)


def _exported(model: SpeechModel, precision: Precision) -> Path:
    content = f"{encoder_fingerprint(model.model)[:32]}-{precision}"
    file = cache_directory() / "onnx" / f"{content}-{version('liteasr')}-{EXPORT_LAYOUT}.onnx"
    if not file.is_file():
        export_encoder(model, file, precision=precision)
    return file
