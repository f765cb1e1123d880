"""Exported encoders through OpenVINO, which computes in bfloat16 where the processor can."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Float32

from liteasr._optional import require
from liteasr.errors import ExportError
from liteasr.export import EncoderDescription
from liteasr.export.description import KEY
from liteasr.runtime.encoding import require_window

__all__ = ["OpenVinoEncoder", "OpenVinoPrecision"]

OpenVinoPrecision = Literal["bf16", "f32"]


@final
class OpenVinoEncoder:
    """A float32 encoder file that `export_encoder` wrote; the model itself is not needed.

    Args:
        path: The file.
        threads: Threads that work on one window; as OpenVINO chooses where left out.
        precision: Of the products. A processor without bfloat16 computes in f32, and the name
            says so.
        cache: Folder where OpenVINO keeps what it compiled, as large as the file; nowhere where
            left out.

    Raises:
        ExportError: The file is missing, damaged, or not one that liteasr exported.
        MissingDependencyError: openvino is not installed.
        ValueError: The number of threads is not positive.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        precision: OpenVinoPrecision = "bf16",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        core = require("openvino", extra="openvino").Core()
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        file = Path(path)
        if not file.is_file():
            raise ExportError(f"there is no file {file}: make it with `liteasr export`")
        try:
            graph = core.read_model(file)
        except RuntimeError as error:  # the only class that it raises
            raise ExportError(f"OpenVINO cannot open {file}: export it again") from error
        place = ["framework", KEY]  # where OpenVINO keeps the metadata of an ONNX file
        found = {KEY: graph.get_rt_info(place).value} if graph.has_rt_info(place) else {}
        self.description = EncoderDescription.from_properties(found, file=file)
        if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            precision = "f32"
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        if cache is not None:
            options["CACHE_DIR"] = os.fspath(cache)
        self._encode = core.compile_model(graph, "CPU", options)
        self._busy = Lock()  # OpenVINO refuses a second caller in place of letting it wait
        self.name = f"openvino-{precision}:{self.description.model}"

    def encode(
        self, features: Float32[np.ndarray, "batch n_mels frames"]
    ) -> Float32[np.ndarray, "batch seq width"]:
        """Encode a batch of windows; see `EncoderRuntime`.

        Raises:
            ValueError: The features are not of this encoder.
        """
        require_window(features, n_mels=self.description.n_mels, frames=self.description.frames)
        with self._busy:
            states: np.ndarray = self._encode(np.ascontiguousarray(features))[0]
        return states
