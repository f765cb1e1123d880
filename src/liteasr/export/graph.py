"""An ONNX graph, written down node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from liteasr._optional import require

__all__ = ["CONTRIB", "EXTERNAL_FROM_BYTES", "Graph"]

Kind = Literal["FLOAT", "INT64", "BOOL"]

OPSET = 18
IR_VERSION = 10  # read by ONNX Runtime 1.18 and later
CONTRIB = "com.microsoft"
ALIGNMENT = 4096  # a page, so that runtimes can map weights instead of reading them
SMALL_BYTES = 1024  # shapes and axes must be readable without the second file
EXTERNAL_FROM_BYTES = 2**28  # mapped, not read; well below the 2 GB that one protobuf may hold


class Graph:
    """Nodes in running order, and the weights they read.

    Weights stay the arrays they are until `save`, so a graph costs no second copy of a model.
    """

    def __init__(self, name: str) -> None:
        self._onnx = require("onnx", extra="onnx")
        self._name = name
        self._prefix = ""
        self._nodes: list[Any] = []
        self._weights: dict[str, np.ndarray] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, shape: Sequence[str | int], kind: Kind = "FLOAT") -> str:
        """Declare an input; named axes are dynamic."""
        self._inputs.append(self._value(name, shape, kind))
        return name

    def output(self, name: str, value: str, shape: Sequence[str | int]) -> None:
        """Declare a float32 output that gives a value of the graph."""
        self.node("Identity", value, output=name)
        self._outputs.append(self._value(name, shape))

    def branch(self, name: str) -> Graph:
        """A part for `choose`: it sees this graph's values and shares its weights."""
        part = Graph(name)
        part._prefix = f"{name}/"
        part._weights = self._weights
        return part

    def choose(self, condition: str, then: Branch, otherwise: Branch, count: int) -> Sequence[str]:
        """Run one of two branches, each given with the values that it gives."""
        parts = {
            attribute: self._onnx.helper.make_graph(
                part._nodes, part._name, [], [self._value(name, None) for name in values]
            )
            for attribute, (part, values) in (("then_branch", then), ("else_branch", otherwise))
        }
        return self.nodes("If", condition, outputs=[None] * count, **parts)

    def node(
        self,
        operator: str,
        *inputs: str,
        output: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node with one output and give the output's name."""
        (made,) = self.nodes(operator, *inputs, outputs=(output,), domain=domain, **attributes)
        return made

    def nodes(
        self,
        operator: str,
        *inputs: str,
        outputs: Sequence[str | None],
        domain: str = "",
        **attributes: Any,
    ) -> tuple[str, ...]:
        """Add a node with several outputs; a name that is None is made up."""
        number = len(self._nodes)
        name = f"{self._prefix}{operator}_{number}"
        names = tuple(given or f"{name}_{i}" for i, given in enumerate(outputs))
        self._nodes.append(
            self._onnx.helper.make_node(
                operator, list(inputs), list(names), name, domain=domain, **attributes
            )
        )
        return names

    def weight(self, name: str, values: np.ndarray) -> str:
        """Add a constant; two branches that read the same one both name it."""
        assert self._weights.setdefault(name, values).shape == values.shape, name
        return name

    def integers(self, *values: int) -> str:
        """A vector of int64, as shapes and axes are given; the same one once."""
        name = "integers_" + "_".join(map(str, values))
        self._weights[name] = np.array(values, np.int64)
        return name

    @property
    def weight_bytes(self) -> int:
        """All weights together."""
        return sum(values.nbytes for values in self._weights.values())

    def save(
        self,
        path: Path,
        *,
        properties: Mapping[str, str],
        external_from_bytes: int | None = None,
    ) -> tuple[Path, ...]:
        """Write the graph, with large weights in a second file beside it, ``NAME_data``.

        Args:
            path: Where the graph goes.
            properties: What the file says about itself.
            external_from_bytes: From this size on, 256 MiB where left out, weights go there.

        Returns:
            The files that were written.
        """
        onnx = self._onnx
        limit = EXTERNAL_FROM_BYTES if external_from_bytes is None else external_from_bytes
        external = self.weight_bytes >= limit
        data = path.with_name(f"{path.name}_data")
        weights = self._external(data) if external else self._inline()
        graph = onnx.helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, weights
        )
        opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(CONTRIB, 1)]
        model = onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="liteasr"
        )
        onnx.helper.set_model_props(model, dict(properties))
        path.write_bytes(model.SerializeToString())
        return (path, data) if external else (path,)

    def _inline(self) -> list[Any]:
        return [self._onnx.numpy_helper.from_array(v, name) for name, v in self._weights.items()]

    def _external(self, data: Path) -> list[Any]:
        tensors = []
        with data.open("wb") as file:
            for name, values in self._weights.items():
                if values.nbytes < SMALL_BYTES:
                    tensors.append(self._onnx.numpy_helper.from_array(values, name))
                    continue
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                entries = {"location": data.name, "offset": file.tell(), "length": values.nbytes}
                file.write(np.ascontiguousarray(values).data)
                tensors.append(self._reference(name, values, entries))
        return tensors

    def _reference(self, name: str, values: np.ndarray, entries: Mapping[str, Any]) -> Any:
        onnx = self._onnx
        tensor = onnx.TensorProto(
            name=name,
            dims=values.shape,
            data_type=onnx.helper.np_dtype_to_tensor_dtype(values.dtype),
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def _value(self, name: str, shape: Sequence[str | int] | None, kind: Kind = "FLOAT") -> Any:
        return self._onnx.helper.make_tensor_value_info(
            name, getattr(self._onnx.TensorProto, kind), None if shape is None else list(shape)
        )


Branch = tuple[Graph, Sequence[str]]
