"""Moonshine through moonshine-voice."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float

from liteasr._optional import require
from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.benchmark.backends.base import BackendSpec, Unshown
from liteasr.errors import SourceError

__all__ = ["MoonshineBackend"]

WHOLE = "moonshine-voice has one call for a whole transcription, and encodes no fixed window"
ARCHITECTURES = ("tiny-streaming", "base-streaming", "small-streaming", "medium-streaming",
                 "tiny", "base")  # fmt: skip


@final
class MoonshineBackend:
    """A directory of ``.ort`` files whose name says the architecture, such as ``base-en``."""

    unshown: ClassVar[Unshown] = {"encoder_ms": WHOLE, "first_token_ms": WHOLE}

    def __init__(self, spec: BackendSpec) -> None:
        package = require("moonshine_voice", extra="peers")
        folder = Path(spec.model)
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder of .ort files: --peer moonshine=base-en/")
        name = next((name for name in ARCHITECTURES if folder.name.startswith(name)), None)
        if name is None:
            raise SourceError(f"{folder} should begin with one of {', '.join(ARCHITECTURES)}")
        architecture = package.ModelArch[name.replace("-", "_").upper()]
        self.model = package.Transcriber(str(folder), architecture)

    def transcribe(self, waveform: Float[np.ndarray, "samples"]) -> str:
        """It finds speech and cuts by itself."""
        found = self.model.transcribe_without_streaming(waveform.tolist(), SAMPLE_RATE_HZ)
        return " ".join(line.text.strip() for line in found.lines)
