"""The decoder of Whisper as one ONNX graph for first steps and later ones.

The layout is the one that optimum calls merged: ``use_cache_branch`` chooses between reading
the encoder's states and reading keys and values of earlier steps, so all weights are there once.

::

    input_ids [batch, tokens]                     logits [batch, tokens, vocabulary]
    encoder_hidden_states [batch, positions, width]
    past_key_values.N.decoder.{key,value}         present.N.decoder.{key,value}
    past_key_values.N.encoder.{key,value}         present.N.encoder.{key,value}
    use_cache_branch [1]

Later steps give empty ``present.N.encoder``, which do not change: feed the first ones again.
"""

from __future__ import annotations

from typing import Any

from liteasr.errors import ExportError
from liteasr.export.graph import CONTRIB, Graph
from liteasr.export.layers import affines_of, array_of
from liteasr.export.products import Affine, Products

__all__ = ["USE_CACHE", "DecoderWriter", "cache_names", "require_known", "whisper_decoder_graph"]

USE_CACHE = "use_cache_branch"
SIDES = ("decoder", "encoder")


def cache_names(layers: int, prefix: str = "past_key_values") -> list[str]:
    """Names of the cached keys and values, in the order of the graph."""
    return [
        f"{prefix}.{layer}.{side}.{part}"
        for layer in range(layers)
        for side in SIDES
        for part in ("key", "value")
    ]


def whisper_decoder_graph(model: Any, products: Products) -> Graph:
    """Write the decoder and the vocabulary's matrix down, with dynamic batch and lengths.

    Args:
        model: A Whisper of transformers that generates text.
        products: How it multiplies by its weights.

    Raises:
        ExportError: A layer is of a kind that no graph is known for.
    """
    config = model.config
    require_known(config)
    graph = Graph("whisper_decoder")
    graph.input("input_ids", ["batch", "tokens"], "INT64")
    graph.input("encoder_hidden_states", ["batch", "positions", config.d_model])
    heads = config.decoder_attention_heads
    width = config.d_model // heads
    past = cache_names(config.decoder_layers)
    for name in past:
        length = "past_tokens" if ".decoder." in name else "positions_or_none"
        graph.input(name, ["batch_or_none", heads, length, width])
    graph.input(USE_CACHE, [1], "BOOL")
    later, first = (
        DecoderWriter(graph.branch(name), model, products, cached=cached).write()
        for name, cached in (("later", True), ("first", False))
    )
    logits, *present = graph.choose(USE_CACHE, later, first, 1 + len(past))
    graph.output("logits", logits, ["batch", "tokens", config.vocab_size])
    for name, value in zip(cache_names(config.decoder_layers, "present"), present, strict=True):
        graph.output(name, value, ["batch_or_none", heads, "length", width])
    return graph


def require_known(config: Any) -> None:
    """Check that the graphs here say what a decoder does.

    Raises:
        ExportError: They do not.
    """
    if config.activation_function != "gelu" or config.scale_embedding:
        raise ExportError("only decoders with exact 'gelu' and unscaled embeddings are known")


class DecoderWriter:
    """Writes one branch."""

    def __init__(self, graph: Graph, model: Any, products: Products, *, cached: bool) -> None:
        self.graph = graph
        self.model = model
        self.products = products
        self.cached = cached
        self.head = Affine(name="proj_out", weight=array_of(model.proj_out.weight.T), bias=None)
        self.width = model.config.d_model
        self.heads = model.config.decoder_attention_heads
        self.by_window = graph.node(
            "Concat", graph.node("Shape", "input_ids"), graph.integers(-1), axis=0
        )

    def write(self) -> tuple[Graph, list[str]]:
        """Write everything; gives the logits, then all keys and values."""
        decoder = self.model.get_decoder()
        hidden = self.embed(decoder)
        present: list[str] = []
        for number, block in enumerate(decoder.layers):
            hidden, made = self.block(number, hidden, block)
            present += made
        hidden = self.norm("decoder.layer_norm", hidden, decoder.layer_norm)
        logits = self.products.chain(self.graph, hidden, [self.head], rows="uneven")
        return self.graph, [self.graph.node("Reshape", logits, self.by_window), *present]

    def embed(self, decoder: Any) -> str:
        """Embeddings of tokens and of their positions, as rows."""
        graph = self.graph
        positions = graph.weight("decoder.positions", array_of(decoder.embed_positions.weight))
        start = graph.integers(0)
        if self.cached:
            start = graph.node("Shape", "past_key_values.0.decoder.key", start=2, end=3)
        stop = graph.node("Add", start, graph.node("Shape", "input_ids", start=1, end=2))
        places = graph.node("Slice", positions, start, stop, graph.integers(0))
        embedded = graph.node("Transpose", self.embeddings(decoder), perm=[1, 2, 0])
        return self.as_rows(graph.node("Add", embedded, places))

    def embeddings(self, decoder: Any) -> str:
        """[width, batch, tokens], out of the matrix that also gives the logits where it is one."""
        weight = decoder.embed_tokens.weight
        table = self.head
        if weight is not self.model.proj_out.weight:
            table = Affine(name="embed_tokens", weight=array_of(weight.T), bias=None)
        return self.products.columns(self.graph, "input_ids", table)

    def block(self, number: int, hidden: str, block: Any) -> tuple[str, list[str]]:
        """One block, and its keys and values: the decoder's own, then the encoder's."""
        name = f"decoder.layers.{number}"
        normed = self.norm(f"{name}.self_attn_layer_norm", hidden, block.self_attn_layer_norm)
        attended, own = self.self_attention(number, f"{name}.self_attn", normed, block.self_attn)
        hidden = self.graph.node("Add", hidden, attended)
        normed = self.norm(f"{name}.encoder_attn_layer_norm", hidden, block.encoder_attn_layer_norm)
        attended, read = self.cross_attention(
            number, f"{name}.encoder_attn", normed, block.encoder_attn
        )
        hidden = self.graph.node("Add", hidden, attended)
        normed = self.norm(f"{name}.final_layer_norm", hidden, block.final_layer_norm)
        inner = self.linear(f"{name}.fc1", normed, block.fc1)
        inner = self.graph.node("Gelu", inner, domain=CONTRIB)
        reduced = self.linear(f"{name}.fc2", inner, block.fc2)
        return self.graph.node("Add", hidden, reduced), [*own, *read]

    def self_attention(
        self, number: int, name: str, x: str, attention: Any
    ) -> tuple[str, tuple[str, ...]]:
        """Attention over the tokens so far."""
        past = ["", ""]
        if self.cached:
            past = [f"past_key_values.{number}.decoder.{part}" for part in ("key", "value")]
        inputs = self.inputs_of_attention(name, x, attention)
        attended, *present = self.graph.nodes(
            "MultiHeadAttention", *inputs, "", "", "", *past, outputs=[None] * 3, domain=CONTRIB,
            num_heads=self.heads, scale=float(attention.scaling), unidirectional=1,
        )  # fmt: skip
        output = self.linear(f"{name}.out_proj", self.as_rows(attended), attention.out_proj)
        return output, tuple(present)

    def inputs_of_attention(self, name: str, x: str, attention: Any) -> list[str]:
        """Queries, keys and values: [batch, tokens, width] each."""
        return [
            self.by_batch(self.linear(f"{name}.{role}", x, getattr(attention, role)))
            for role in ("q_proj", "k_proj", "v_proj")
        ]

    def cross_attention(
        self, number: int, name: str, x: str, attention: Any
    ) -> tuple[str, tuple[str, ...]]:
        """Attention over the encoder's states, whose keys and values are made once."""
        graph = self.graph
        query = self.by_batch(self.linear(f"{name}.q_proj", x, attention.q_proj))
        if self.cached:
            read = tuple(f"past_key_values.{number}.encoder.{part}" for part in ("key", "value"))
            shape = graph.integers(0, self.heads, 1, self.width // self.heads)
            empty = graph.node("ConstantOfShape", shape)
            present = (empty, empty)
        else:
            rows = self.as_rows("encoder_hidden_states")
            read = present = (
                self.by_head(self.linear(f"{name}.k_proj", rows, attention.k_proj)),
                self.by_head(self.linear(f"{name}.v_proj", rows, attention.v_proj)),
            )
        attended = graph.node(
            "MultiHeadAttention", query, *read, domain=CONTRIB,
            num_heads=self.heads, scale=float(attention.scaling),
        )  # fmt: skip
        return self.linear(f"{name}.out_proj", self.as_rows(attended), attention.out_proj), present

    def linear(self, name: str, x: str, layer: Any) -> str:
        """A linear layer or a chain of two."""
        return self.products.chain(self.graph, x, affines_of(name, layer), rows="uneven")

    def norm(self, name: str, x: str, norm: Any) -> str:
        """A layer norm."""
        scale = self.graph.weight(f"{name}.weight", array_of(norm.weight))
        shift = self.graph.weight(f"{name}.bias", array_of(norm.bias))
        return self.graph.node("LayerNormalization", x, scale, shift, epsilon=norm.eps)

    def as_rows(self, x: str) -> str:
        """[batch · seq, width]."""
        return self.graph.node("Reshape", x, self.graph.integers(-1, self.width))

    def by_batch(self, rows: str) -> str:
        """[batch, tokens, width]."""
        return self.graph.node("Reshape", rows, self.by_window)

    def by_head(self, rows: str) -> str:
        """Of the encoder's states: [batch, heads, positions, head width]."""
        graph = self.graph
        batch = graph.node("Shape", "encoder_hidden_states", start=0, end=2)
        head = graph.integers(self.heads, self.width // self.heads)
        shape = graph.node("Concat", batch, head, axis=0)
        return graph.node("Transpose", graph.node("Reshape", rows, shape), perm=[0, 2, 1, 3])
