"""onnx-asr (ONNX Runtime)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from liteasr._optional import require
from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.benchmark.backends.base import BackendSpec, Unshown

__all__ = ["OnnxASRBackend"]

WHOLE = "onnx-asr has one call for a whole transcription"


@final
class OnnxASRBackend:
    """``NAME`` or ``KIND=DIRECTORY`` (``whisper=onnx/``), as onnx-asr knows them."""

    unshown: ClassVar[Unshown] = {"encoder_ms": WHOLE, "first_token_ms": WHOLE}

    def __init__(self, spec: BackendSpec) -> None:
        package = require("onnx_asr", extra="peers")
        runtime = require("onnxruntime", extra="peers")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = spec.threads
        options.inter_op_num_threads = 1
        kind, equals, place = spec.model.partition("=")
        if not equals and Path(kind).is_dir():
            kind, place = "whisper", kind
        self.model = package.load_model(
            kind,
            place or None,
            sess_options=options,
            providers=["CPUExecutionProvider"],
        )
        self.language = spec.language if "whisper" in kind else None

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """In one piece."""
        known = {} if self.language is None else {"language": self.language}
        text: str = self.model.recognize(waveform, sample_rate=SAMPLE_RATE_HZ, **known)
        return text.strip()
