"""The decoder of Whisper for one token after another, written for the bytes that a token reads.

Two graphs. The first makes, once for a window, what every later token reads of it::

    encoder_hidden_states [batch, positions, width]    past_key_values.N.encoder.{key,value}

The second takes tokens, and gives the logits after the last of them::

    input_ids [batch, tokens]                          logits [batch, vocabulary]
    past_key_values.N.{encoder,decoder}.{key,value}    present.N.decoder.{key,value}

A narrow decoder reads more of its vocabulary than of all its layers (Whisper base: 26 of 48 MB in
int8). So it reads the vocabulary in 4 bits, and in 8 bits only the `SHORTLIST` tokens that are best
by that, whose logits replace the first ones. Of 657 tokens in five languages that the full
vocabulary chose, every one was among the first 8; log Σ exp(logits) was off by 0.003.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from liteasr.errors import ExportError
from liteasr.export.block_products import BlockProducts
from liteasr.export.graph import Graph
from liteasr.export.layers import affines_of
from liteasr.export.precision import Precision, products_for
from liteasr.export.products import Affine, FloatProducts
from liteasr.export.whisper_decoder import DecoderWriter, cache_names, require_known

__all__ = ["whisper_memory_graph", "whisper_step_graph"]

SHORTLIST = 64


def whisper_memory_graph(model: Any, precision: Precision) -> Graph:
    """Write down the keys and values of all cross-attentions, out of one product.

    Args:
        model: A Whisper of transformers that generates text.
        precision: Of that product, which has many rows.

    Raises:
        ValueError: There is no such precision.
        ExportError: A layer is not a linear one.
    """
    config = model.config
    heads = config.decoder_attention_heads
    products = products_for(precision)
    graph = Graph("whisper_memory")
    states = graph.input("encoder_hidden_states", ["batch", "positions", config.d_model])
    rows = graph.node("Reshape", states, graph.integers(-1, config.d_model))
    each = [
        part
        for layer in model.get_decoder().layers
        for projection in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)
        for part in affines_of("encoder_attn", projection)
    ]
    names = [name for name in cache_names(config.decoder_layers) if ".encoder." in name]
    if len(each) > len(names):
        raise ExportError("cross-attentions in chains cannot be exported")
    made = products.chain(graph, rows, [_stacked("encoder_attn", each)], rows="uneven")
    shape = graph.node(
        "Concat", graph.node("Shape", states, start=0, end=2),
        graph.integers(len(names), heads, config.d_model // heads), axis=0,
    )  # fmt: skip
    split = graph.node("Transpose", graph.node("Reshape", made, shape), perm=[2, 0, 3, 1, 4])
    for place, name in enumerate(names):
        value = graph.node("Gather", split, graph.weight(f"at_{place}", np.array(place)))
        graph.output(name, value, ["batch", heads, "positions", config.d_model // heads])
    return graph


def whisper_step_graph(model: Any, precision: Precision) -> Graph:
    """Write down what is done for every token.

    Args:
        model: A Whisper of transformers that generates text.
        precision: ``int8`` for what the module's documentation says, ``float32`` for all of the
            vocabulary and no roundings.

    Raises:
        ExportError: A layer is of a kind that no graph is known for.
    """
    config = model.config
    require_known(config)
    heads = config.decoder_attention_heads
    width = config.d_model // heads
    graph = Graph("whisper_step")
    graph.input("input_ids", ["batch", "tokens"], "INT64")
    for name in cache_names(config.decoder_layers):
        length = "past_tokens" if ".decoder." in name else "positions"
        graph.input(name, ["batch", heads, length, width])
    writer = _ExactWriter if precision == "float32" else _ShortlistWriter
    logits, *present = writer(graph, model).write_step()
    graph.output("logits", logits, ["batch", config.vocab_size])
    names = cache_names(config.decoder_layers, "present")
    for name, value in zip((n for n in names if ".decoder." in n), present, strict=True):
        graph.output(name, value, ["batch", heads, "length", width])
    return graph


class _StepWriter(DecoderWriter):
    """Writes one step, with one product for queries, keys and values."""

    def write_step(self) -> list[str]:
        """Write everything; gives the last token's logits, then the decoder's keys and values."""
        decoder = self.model.get_decoder()
        hidden = self.embed(decoder)
        present: list[str] = []
        for number, block in enumerate(decoder.layers):
            hidden, made = self.block(number, hidden, block)
            present += made[:2]
        place = self.graph.weight("last", np.array(-1))
        last = self.graph.node("Gather", self.by_batch(hidden), place, axis=1)
        return [self.logits(self.norm("decoder.layer_norm", last, decoder.layer_norm)), *present]

    def logits(self, hidden: str) -> str:
        """[batch, vocabulary]."""
        raise NotImplementedError

    def inputs_of_attention(self, name: str, x: str, attention: Any) -> list[str]:
        """Queries, keys and values: [batch, tokens, width] each."""
        roles = ("q_proj", "k_proj", "v_proj")
        each = [part for r in roles for part in affines_of(f"{name}.{r}", getattr(attention, r))]
        if len(each) > len(roles):  # chains
            return super().inputs_of_attention(name, x, attention)
        made = self.products.chain(self.graph, x, [_stacked(f"{name}.qkv", each)], rows="uneven")
        return list(
            self.graph.nodes(
                "Split", self.by_batch(made), outputs=[None] * 3, axis=-1, num_outputs=3
            )
        )


class _ExactWriter(_StepWriter):
    """Without roundings."""

    def __init__(self, graph: Graph, model: Any) -> None:
        super().__init__(graph, model, FloatProducts(), cached=True)

    def logits(self, hidden: str) -> str:
        """All of them by one product."""
        return self.products.chain(self.graph, hidden, [self.head])


class _ShortlistWriter(_StepWriter):
    """With all of the vocabulary in 4 bits and a few rows of it in 8."""

    def __init__(self, graph: Graph, model: Any) -> None:
        super().__init__(graph, model, BlockProducts(), cached=True)
        self.vocabulary = BlockProducts(bits=4, block=64)
        self.shortlist = min(SHORTLIST, model.config.vocab_size)

    def logits(self, hidden: str) -> str:
        """Of all tokens, and better ones of those that are best."""
        graph = self.graph
        rough = self.vocabulary.chain(graph, hidden, [self.head])
        _, best = graph.nodes(
            "TopK", rough, graph.integers(self.shortlist), outputs=(None, None), axis=-1, sorted=0
        )
        rows = self.vocabulary.rows(graph, best, self.head)  # [batch, best, width]
        exact = graph.node("MatMul", rows, graph.node("Unsqueeze", hidden, graph.integers(2)))
        exact = graph.node("Squeeze", exact, graph.integers(2))
        return graph.node("ScatterElements", rough, best, exact, axis=1)


def _stacked(name: str, parts: list[Affine]) -> Affine:
    """Maps of one input as one map, their outputs one after the other."""
    biases = [np.zeros(p.weight.shape[1], np.float32) if p.bias is None else p.bias for p in parts]
    return Affine(
        name=name,
        weight=np.concatenate([part.weight for part in parts], axis=1),
        bias=np.concatenate(biases),
    )
