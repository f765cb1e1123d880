"""The encoder of Whisper as an ONNX graph, whatever its layers and attentions have become.

Three things are written otherwise than PyTorch runs them, each exact but for rounding:

- A key's bias adds the same number to all scores of a query, which softmax does not see: it is
  left out. A value's bias passes through the attention, as weights sum to one: it moves into
  the bias of the output layer.
- Convolutions are products over neighboring frames, so frames stay rows and int8 applies.
- Rows of a batch lie one below the other, [batch · seq, width], except inside the attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from liteasr.encoders import pooled_from
from liteasr.errors import ExportError
from liteasr.export.graph import CONTRIB, Graph
from liteasr.export.layers import affines_of, array_of, with_constant, with_scaled_input
from liteasr.export.products import Affine, Products, Rows
from liteasr.nn import PAIR, LowRankConv1d, LowRankSelfAttention

__all__ = [
    "FRAMES_PER_POSITION",
    "INPUT",
    "OUTPUT",
    "whisper_encoder_flops",
    "whisper_encoder_graph",
]

INPUT = "input_features"
OUTPUT = "last_hidden_state"
KERNEL = 3  # frames that both convolutions see
FRAMES_PER_POSITION = 2


def whisper_encoder_graph(encoder: Any, products: Products) -> Graph:
    """Write the encoder down, with dynamic batch and length.

    Args:
        encoder: The encoder inside a Whisper of transformers, dense or reduced.
        products: How it multiplies by its weights.

    Raises:
        ExportError: A layer is of a kind that no graph is known for.
    """
    config = encoder.config
    if config.activation_function != "gelu":
        raise ExportError(
            f"the encoder's activation is {config.activation_function!r}: only exact 'gelu' can "
            "be exported"
        )
    graph = Graph("whisper_encoder")
    features = graph.input(INPUT, ["batch", config.num_mel_bins, "frames"])
    writer = _Writer(graph, products, width=config.d_model)
    hidden = writer.embed(features, encoder)
    for number, block in enumerate(encoder.layers):
        if number == pooled_from(encoder):
            hidden = writer.pooled(hidden)
        hidden = writer.block(f"layers.{number}", hidden, block)
    normed = writer.norm("layer_norm", hidden, encoder.layer_norm, last=True)
    states = graph.node("Reshape", normed.rows, writer.by_window)
    graph.output(OUTPUT, states, ["batch", "positions", config.d_model])
    return graph


def whisper_encoder_flops(encoder: Any) -> float:
    """FLOPs of a full window: layers, convolutions and the two products of every attention.

    2 per weight and position; 2·T²·H·(r_qk + r_v) per attention with heads of those widths. T is
    halved where positions are pooled.
    """
    full = positions = int(encoder.embed_positions.num_embeddings)
    flops = 0.0
    for number, block in enumerate(encoder.layers):
        positions = positions // PAIR if number == pooled_from(encoder) else positions
        weights = sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Linear))
        query, value = (
            affines_of("", layer)[-1].weight.shape[1]
            for layer in (block.self_attn.q_proj, block.self_attn.v_proj)
        )
        flops += 2.0 * positions * (weights + positions * (query + value))
    second = sum(weight.numel() for weight in encoder.conv2.parameters() if weight.dim() > 1)
    convolved: int = 2 * encoder.conv1.weight.numel() + second
    return flops + 2.0 * full * convolved


@dataclass(frozen=True, kw_only=True, slots=True)
class _Normed:
    """What a norm gives, and what its channels were divided by."""

    rows: str
    scales: np.ndarray | None


class _Writer:
    """Writes the parts of one encoder; keeps the shapes that depend on the input."""

    by_window: str  # the shape [batch, seq, -1]

    def __init__(self, graph: Graph, products: Products, *, width: int) -> None:
        self.graph = graph
        self.products = products
        self.width = width

    def embed(self, features: str, encoder: Any) -> str:
        """Two convolutions with GELU, and the positions."""
        graph = self.graph
        batch = graph.node("Shape", features, start=0, end=1)
        frames = graph.node("Shape", features, start=2, end=3)
        more = graph.node("Add", frames, graph.integers(1))
        positions = graph.node("Div", more, graph.integers(2))
        rest = graph.integers(-1)
        self.by_window = graph.node("Concat", batch, positions, rest, axis=0)
        by_frame = graph.node("Concat", batch, frames, rest, axis=0)
        rows = graph.node("Transpose", features, perm=[0, 2, 1])
        hidden = self._convolution("conv1", rows, encoder.conv1, frames, rows="alike")
        hidden = graph.node("Reshape", hidden, by_frame)
        hidden = self._convolution("conv2", hidden, encoder.conv2, positions, rows="after_gelu")
        table = graph.weight("embed_positions", array_of(encoder.embed_positions.weight))
        used = graph.node("Slice", table, graph.integers(0), positions, graph.integers(0))
        hidden = graph.node("Add", graph.node("Reshape", hidden, self.by_window), used)
        return self._as_rows(hidden, self.width)

    def pooled(self, hidden: str) -> str:
        """The means of pairs of positions; the last of an odd number stands alone."""
        graph = self.graph
        windows = graph.node("Reshape", hidden, self.by_window)
        batch = graph.node("Shape", windows, start=0, end=1)
        positions = graph.node("Shape", windows, start=1, end=2)
        axis, middle = graph.integers(1), graph.integers(self.width)
        half = graph.node("Div", graph.node("Add", positions, axis), graph.integers(PAIR))
        even = graph.node("Mul", half, graph.integers(PAIR))
        last = graph.node("Slice", windows, graph.integers(-1), positions, axis)
        longer = graph.node("Concat", windows, last, axis=1)
        kept = graph.node("Slice", longer, graph.integers(0), even, axis)
        pairs = self._as_rows(kept, PAIR * self.width)  # two positions beside each other
        first = graph.node("Slice", pairs, graph.integers(0), middle, axis)
        second = graph.node("Slice", pairs, middle, graph.integers(PAIR * self.width), axis)
        self.by_window = graph.node("Concat", batch, half, graph.integers(-1), axis=0)
        both = graph.node("Add", first, second)
        return graph.node("Mul", both, graph.weight("half", np.array(0.5, dtype=np.float32)))

    def block(self, name: str, hidden: str, block: Any) -> str:
        """One transformer block: attention and MLP, each after a norm and beside a residual."""
        normed = self.norm(f"{name}.self_attn_layer_norm", hidden, block.self_attn_layer_norm)
        attended = self.attention(f"{name}.self_attn", normed, block.self_attn)
        hidden = self.graph.node("Add", hidden, attended)
        normed = self.norm(f"{name}.final_layer_norm", hidden, block.final_layer_norm)
        inner = self._gelu(self.linear(f"{name}.fc1", normed, block.fc1))
        parts = affines_of(f"{name}.fc2", block.fc2)
        reduced = self.products.chain(self.graph, inner, parts, rows="after_gelu")
        return self.graph.node("Add", hidden, reduced)

    def attention(self, name: str, x: _Normed, attention: Any) -> str:
        """Self-attention in one fused operator; heads may be narrower than they were."""
        reduced = isinstance(attention, LowRankSelfAttention)
        heads = attention.heads if reduced else attention.num_heads
        graph = self.graph
        query = self.linear(f"{name}.q_proj", x, attention.q_proj)
        key = self.linear(f"{name}.k_proj", x, attention.k_proj, bias=False)
        value = self.linear(f"{name}.v_proj", x, attention.v_proj, bias=False)
        attended = graph.node(
            "MultiHeadAttention",
            *(graph.node("Reshape", rows, self.by_window) for rows in (query, key, value)),
            domain=CONTRIB,
            num_heads=heads,
            scale=float(attention.scaling),
        )
        parts = affines_of(f"{name}.out_proj", attention.out_proj)
        rows = self._as_rows(attended, parts[0].weight.shape[0])
        moved = with_constant(parts, affines_of("", attention.v_proj)[-1].bias)
        return self.products.chain(graph, rows, moved, rows="uneven")

    def linear(self, name: str, x: _Normed, layer: nn.Module, *, bias: bool = True) -> str:
        """A dense layer, or a chain of two thin ones, after a norm."""
        parts = with_scaled_input(affines_of(name, layer, bias=bias), x.scales)
        return self.products.chain(self.graph, x.rows, parts)

    def norm(self, name: str, x: str, norm: Any, *, last: bool = False) -> _Normed:
        """A layer norm. Rows are two-dimensional, so it is not fused with the sum before it.

        ONNX Runtime's fused SkipLayerNormalization takes 2.5 times as long on a CPU as the two.
        """
        weight, bias = array_of(norm.weight), array_of(norm.bias)
        scales = None if last else self.products.channel_scales(weight, bias)
        if scales is not None:
            weight, bias = weight / scales, bias / scales
        rows = self.graph.node(
            "LayerNormalization",
            x,
            self.graph.weight(f"{name}.weight", weight),
            self.graph.weight(f"{name}.bias", bias),
            epsilon=norm.eps,
        )
        return _Normed(rows=rows, scales=scales)

    def _convolution(self, name: str, x: str, layer: Any, positions: str, *, rows: Rows) -> str:
        """The product of every position's three frames, [batch · positions, out], and GELU."""
        graph = self.graph
        stride, inputs = layer.stride[0], layer.in_channels
        chain = isinstance(layer, LowRankConv1d)
        padded = graph.node("Pad", x, graph.integers(0, 1, 0, 0, 1, 0))
        axis, step = graph.integers(1), graph.integers(stride)
        # the last frame is (positions - 1) · stride + tap
        last = graph.node("Mul", graph.node("Sub", positions, axis), step)
        taps = [
            graph.node(
                "Slice", padded, graph.integers(tap),
                graph.node("Add", last, graph.integers(tap + 1)), axis, step,
            )
            for tap in range(KERNEL)
        ]  # fmt: skip
        frames = self._as_rows(graph.node("Concat", *taps, axis=2), KERNEL * inputs)
        parts = {f"{name}.down": layer.down, f"{name}.up": layer.up} if chain else {name: layer}
        affines = [_over_frames(name, part) for name, part in parts.items()]
        return self._gelu(self.products.chain(graph, frames, affines, rows=rows))

    def _gelu(self, x: str) -> str:
        return self.graph.node("Gelu", x, domain=CONTRIB)

    def _as_rows(self, x: str, width: int) -> str:
        return self.graph.node("Reshape", x, self.graph.integers(-1, width))


def _over_frames(name: str, layer: nn.Conv1d) -> Affine:
    """A convolution as the product of the frames that it sees, one after the other."""
    weight = array_of(layer.weight.permute(2, 1, 0).flatten(0, 1))
    return Affine(
        name=name, weight=weight, bias=None if layer.bias is None else array_of(layer.bias)
    )
