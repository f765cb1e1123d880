"""Which backends there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from liteasr.benchmark.backends.base import Backend, BackendSpec

__all__ = ["BACKENDS", "OURS", "open_backend"]

OURS = "liteasr"

# by name, so that a process imports only what it measures
BACKENDS: Mapping[str, str] = {
    OURS: "ours:OurBackend",
    "hybrid": "hybrid:HybridBackend",
    "hybrid-torch": "hybrid:HybridBackend",
    "hybrid-torch-bfloat16": "hybrid:HybridBackend",
    "hybrid-onnx": "hybrid:HybridBackend",
    "hybrid-onnx-int8": "hybrid:HybridBackend",
    "hybrid-openvino": "hybrid:HybridBackend",
    "transformers": "transformers:TransformersBackend",
    "faster-whisper": "faster_whisper:FasterWhisperBackend",
    "faster-whisper-int8": "faster_whisper:FasterWhisperBackend",
    "openai-whisper": "openai_whisper:OpenAIWhisperBackend",
    "pywhispercpp": "whisper_cpp:WhisperCppBackend",
    "onnx-asr": "onnx_asr:OnnxASRBackend",
    "moonshine": "moonshine:MoonshineBackend",
}


def open_backend(spec: BackendSpec) -> Backend:
    """Open a recognizer.

    Raises:
        ValueError: No backend has this name.
        MissingDependencyError: Its package is not installed.
        LiteASRError: The model cannot be opened.
    """
    if spec.kind not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {spec.kind!r}")
    module, name = BACKENDS[spec.kind].split(":")
    made: Callable[[BackendSpec], Backend] = getattr(
        import_module(f"liteasr.benchmark.backends.{module}"), name
    )
    return made(spec)
