"""Writing a graph that appears only once ONNX Runtime gave with it what the model gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from liteasr.atomic import atomic_files
from liteasr.export.graph import Graph
from liteasr.export.session import open_session
from liteasr.export.verification import Agreement

__all__ = ["write_verified"]


def write_verified(
    graph: Graph,
    path: Path,
    compare: Callable[[Any], Agreement],
    *,
    properties: Mapping[str, str],
    tolerance: float,
    external_from_bytes: int | None,
) -> Agreement:
    """Write a graph, run it and compare; nothing is left where it differs.

    Args:
        graph: What to write.
        path: Name of the file, which is replaced if there is one.
        compare: How far a session of ONNX Runtime is from the model.
        properties: What the file says about itself.
        tolerance: Largest relative error.
        external_from_bytes: See `Graph.save`.

    Raises:
        ExportError: ONNX Runtime cannot run the file, or it differs from the model.
        MissingDependencyError: onnx or onnxruntime is not installed.
        StorageError: The disk refused.
    """
    with atomic_files(path.parent) as folder:
        file = folder / path.name
        graph.save(file, properties=properties, external_from_bytes=external_from_bytes)
        session = open_session(file, threads=torch.get_num_threads())
        agreement = compare(session)
        agreement.require(tolerance)
        del session  # it holds the files, which some systems do not let go elsewhere then
    return agreement
