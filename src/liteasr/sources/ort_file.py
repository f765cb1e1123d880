"""Weights inside an ``.ort`` file of ONNX Runtime, read with its own flatbuffer schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from liteasr._optional import require
from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of

__all__ = ["OrtWeights"]

SCHEMA = "onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession"
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 7: np.int64}  # of onnx.TensorProto.DataType


class OrtWeights:
    """Tensors and matrix products of a graph and of the graphs inside it.

    Args:
        path: The file.

    Raises:
        IntegrityError: The file is no flatbuffer of this kind.
        MissingDependencyError: The extra ``onnx`` is not installed.
    """

    def __init__(self, path: Path) -> None:
        schema = require(SCHEMA, extra="onnx").InferenceSession
        self.path = path
        self._tensors: dict[str, Any] = {}
        self._operands: dict[str, tuple[str, ...]] = {}
        data = path.read_bytes()
        try:
            if not schema.InferenceSessionBufferHasIdentifier(data, 0):
                raise ValueError("no identifier of ONNX Runtime")
            self._read(schema.GetRootAs(data, 0).Model().Graph())
        except Exception as error:  # flatbuffers reads offsets as they are
            raise IntegrityError(
                f"{path} is no readable .ort file ({error}; SHA-256 {sha256_of(path)}): fetch it "
                "again"
            ) from error

    def tensor(self, name: str) -> Float[np.ndarray, "*shape"]:
        """A tensor in float32, whichever way it is quantized.

        Raises:
            SourceError: There is none of that name.
        """
        if name in self._tensors:
            return self._values(name).astype(np.float32)
        stem = name.removesuffix("_add_tensor")
        if f"{stem}_quantized" not in self._tensors:
            raise SourceError(f"{self.path} has no tensor {name}")
        values = self._values(f"{stem}_quantized").astype(np.float32)
        scale, zero = (self._values(f"{stem}_{part}") for part in ("scale", "zero_point"))
        if np.issubdtype(zero.dtype, np.floating):  # added after the scale
            shifted: np.ndarray = values * scale.astype(np.float32) + zero
            return shifted
        return (values - zero.astype(np.float32)) * scale.astype(np.float32)

    def operand(self, node: str) -> Float[np.ndarray, "*shape"]:
        """The second operand of a node, in float32: a matrix [in, out], or what is added.

        Raises:
            SourceError: There is no such node, or it multiplies two activations.
        """
        names = [name for name in (node, f"{node}_quant") if name in self._operands]
        if not names:
            raise SourceError(f"{self.path} has no node {node}")
        return self.tensor(self._operands[names[0]][1].removesuffix("_quantized"))

    def __contains__(self, name: str) -> bool:
        return name in self._operands or f"{name}_quant" in self._operands

    def names(self) -> Iterator[str]:
        """Names of all tensors."""
        return iter(self._tensors)

    def _values(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        shape = [tensor.Dims(i) for i in range(tensor.DimsLength())]
        if tensor.DataType() not in DTYPES:
            raise SourceError(f"{self.path}: tensor {name} has type {tensor.DataType()}")
        values: np.ndarray = np.frombuffer(
            tensor.RawDataAsNumpy().tobytes(), dtype=DTYPES[tensor.DataType()]
        )
        return values.reshape(shape)

    def _read(self, graph: Any) -> None:
        for i in range(graph.InitializersLength()):
            tensor = graph.Initializers(i)
            self._tensors[tensor.Name().decode()] = tensor
        for i in range(graph.NodesLength()):
            node = graph.Nodes(i)
            inputs = (node.Inputs(j).decode() for j in range(node.InputsLength()))
            self._operands[node.Name().decode()] = tuple(inputs)
            for j in range(node.AttributesLength()):
                if (inner := node.Attributes(j).G()) is not None:
                    self._read(inner)
