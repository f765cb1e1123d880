"""Opening an ONNX file with ONNX Runtime, as fast as it runs on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liteasr._optional import require
from liteasr.errors import ExportError

__all__ = ["open_session"]


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU; weights in a second file are mapped.

    Args:
        path: The ONNX file.
        threads: Threads that work on one operator; as ONNX Runtime chooses where left out.

    Raises:
        ValueError: The number of threads is not positive.
        ExportError: The file is missing, damaged, or holds what this ONNX Runtime cannot run.
    """
    ort = require("onnxruntime", extra="onnx")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if not path.is_file():
        raise ExportError(f"there is no file {path}: make it with `liteasr export`")
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # between two runs its threads would spin, and keep those of other sessions from working
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3  # its warnings are about the graph, not for users
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises a class of its own for every status code
        reason = " ".join(str(error).split())
        raise ExportError(
            f"ONNX Runtime {ort.__version__} cannot open {path}: {reason}; export it again"
        ) from error
