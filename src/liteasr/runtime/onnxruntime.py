"""Exported encoders through ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32

from liteasr.export import EncoderDescription, open_session
from liteasr.runtime.encoding import require_window

__all__ = ["OnnxEncoder"]


@final
class OnnxEncoder:
    """An encoder file that `export_encoder` wrote; the model itself is not needed.

    Args:
        path: The file.
        threads: Threads that work on one window; as ONNX Runtime chooses where left out.

    Raises:
        ExportError: The file is missing, damaged, or not one that liteasr exported.
        MissingDependencyError: onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        file = Path(path)
        self._session = open_session(file, threads=threads)
        properties = self._session.get_modelmeta().custom_metadata_map
        self.description = EncoderDescription.from_properties(properties, file=file)
        self.name = f"onnxruntime-{self.description.precision}:{self.description.model}"
        self._input = self._session.get_inputs()[0].name

    def encode(
        self, features: Float32[np.ndarray, "batch n_mels frames"]
    ) -> Float32[np.ndarray, "batch seq width"]:
        """Encode a batch of windows; see `EncoderRuntime`.

        Raises:
            ValueError: The features are not of this encoder.
        """
        require_window(features, n_mels=self.description.n_mels, frames=self.description.frames)
        states: np.ndarray
        (states,) = self._session.run(None, {self._input: np.ascontiguousarray(features)})
        return states
