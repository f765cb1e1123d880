"""whisper.cpp through pywhispercpp."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from liteasr._optional import require
from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.errors import SourceError

__all__ = ["WhisperCppBackend"]

WHOLE = "pywhispercpp has one call for a whole transcription"


@final
class WhisperCppBackend:
    """A ggml file."""

    unshown: ClassVar[Unshown] = {"encoder_ms": WHOLE, "first_token_ms": WHOLE}

    def __init__(self, spec: BackendSpec) -> None:
        package = require("pywhispercpp.model", extra="peers")
        if not Path(spec.model).is_file():
            raise SourceError(f"{spec.model} is no ggml file: --peer pywhispercpp=ggml-base.bin")
        self.model = package.Model(
            spec.model,
            n_threads=spec.threads,
            language=spec.language,
            redirect_whispercpp_logs_to=None,
            print_progress=False,
            print_realtime=False,
            no_timestamps=True,
            no_context=True,
            temperature_inc=0.0,
        )

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """All segments."""
        return " ".join(part.text.strip() for part in self.model.transcribe(waveform))
