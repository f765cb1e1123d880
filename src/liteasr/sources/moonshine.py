"""Moonshine from the ``.ort`` files of its own packages, dequantized to float32."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from liteasr.errors import SourceError
from liteasr.sources.base import SpeechModel
from liteasr.sources.moonshine_tokens import build_tokenizer
from liteasr.sources.ort_file import OrtWeights

__all__ = ["MoonshineShape", "load_moonshine", "moonshine_shape", "moonshine_state"]

ROTATED = 32  # features of a head that are turned, in every Moonshine
POSITIONS = 194  # that the decoder was trained on
EMBEDDING = "model.decoder.embed_tokens.weight_merged_0"
# earlier exports call a few layers otherwise
NAMES = {"o_proj": "dense", "fc1": "up_proj", "fc2": "down_proj"}

State = dict[str, Float[np.ndarray, "*shape"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MoonshineShape:
    """The numbers that decide a Moonshine's layers, named as its configuration names them."""

    hidden_size: int
    intermediate_size: int
    vocab_size: int
    encoder_num_hidden_layers: int
    decoder_num_hidden_layers: int
    encoder_num_attention_heads: int = 8
    decoder_num_attention_heads: int = 8


def load_moonshine(folder: Path, *, name: str | None = None, origin: str) -> SpeechModel:
    """Open a folder with ``encoder_model.ort``, ``decoder_model_merged.ort`` and a tokenizer.

    Raises:
        IntegrityError: A file is damaged.
        MissingDependencyError: The extra ``onnx`` is not installed.
        SourceError: The graphs hold another model.
    """
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    encoder = OrtWeights(folder / "encoder_model.ort")
    decoder = OrtWeights(folder / "decoder_model_merged.ort")
    shape = moonshine_shape(encoder, decoder)
    model = _build(shape, moonshine_state(encoder, decoder, shape), origin)
    processor = Wav2Vec2Processor(
        Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False),
        build_tokenizer(folder / "tokenizer.bin", vocab_size=shape.vocab_size),
    )
    return SpeechModel(
        name=name or folder.resolve().name, origin=origin, model=model, processor=processor
    )


def moonshine_shape(encoder: OrtWeights, decoder: OrtWeights) -> MoonshineShape:
    """Read the model's shape from its tensors.

    Raises:
        SourceError: A tensor is missing.
    """
    inner, width = (len(encoder.tensor(f"layers.0.mlp.{name}.bias")) for name in ("fc1", "fc2"))
    return MoonshineShape(
        hidden_size=width,
        intermediate_size=inner,
        vocab_size=len(decoder.tensor(EMBEDDING)),
        encoder_num_hidden_layers=_count_layers(encoder),
        decoder_num_hidden_layers=_count_layers(decoder),
    )


def moonshine_state(encoder: OrtWeights, decoder: OrtWeights, shape: MoonshineShape) -> State:
    """Dequantize and rename all tensors into a transformers state dictionary.

    The output matrix is the embedding's: of two quantizations of it, that of the matrix product
    is taken where both are there, since most of the error is made where tokens are chosen.

    Raises:
        SourceError: A tensor is missing.
    """
    state: State = {}
    for name in ("conv1.weight", "conv2.weight", "conv2.bias", "conv3.weight", "conv3.bias"):
        tensor = name if name.endswith("bias") else f"{name}_add_tensor"
        state[f"model.encoder.{name}"] = encoder.tensor(tensor)
    for part, node in (("weight", "Mul"), ("bias", "Add")):
        state[f"model.encoder.groupnorm.{part}"] = encoder.operand(f"/groupnorm/{node}").reshape(-1)
    state["model.encoder.layer_norm.weight"] = encoder.tensor("layer_norm.weight")
    for block in range(shape.encoder_num_hidden_layers):
        _copy_block(encoder, f"layers.{block}", state, "model.encoder", cross=False)
    for block in range(shape.decoder_num_hidden_layers):
        _copy_block(decoder, f"model.decoder.layers.{block}", state, "model.decoder", cross=True)
    state["model.decoder.norm.weight"] = decoder.tensor("model.decoder.norm.weight_merged_0")
    try:
        embedding = np.ascontiguousarray(decoder.operand("/proj_out/MatMul").T)
    except SourceError:  # the product reads the embedding, transposed
        embedding = decoder.tensor(EMBEDDING)
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = embedding
    return state


def _copy_block(file: OrtWeights, source: str, state: State, side: str, *, cross: bool) -> None:
    block = f"{side}.layers.{source.rpartition('.')[2]}"
    node = "/" + source.replace("model.decoder.", "model/decoder/")
    suffix = "_merged_0" if cross else ""
    attentions = ("self_attn", "encoder_attn") if cross else ("self_attn",)
    for attention in attentions:
        for role in ("q_proj", "k_proj", "v_proj", "o_proj"):
            state[f"{block}.{attention}.{role}.weight"] = _matrix(file, f"{node}/{attention}", role)
    for role in ("fc1", "fc2"):
        state[f"{block}.mlp.{role}.weight"] = _matrix(file, f"{node}/mlp", role)
        bias = f"{source}.mlp.{{}}.bias{suffix}"
        names = {bias.format(role), bias.format(NAMES[role])} & set(file.names())
        state[f"{block}.mlp.{role}.bias"] = file.tensor(next(iter(names), bias.format(role)))
    norms = ("input_layernorm", "post_attention_layernorm", "final_layernorm")
    for norm in norms if cross else norms[:2]:
        state[f"{block}.{norm}.weight"] = file.tensor(f"{source}.{norm}.weight{suffix}")


def _matrix(file: OrtWeights, node: str, role: str) -> Float[np.ndarray, "out in"]:
    """The weight of a linear layer; graphs hold it as [in, out]."""
    former = f"{node}/{NAMES.get(role, role)}/MatMul"
    name = former if former in file else f"{node}/{role}/MatMul"
    return np.ascontiguousarray(file.operand(name).T)


def _count_layers(file: OrtWeights) -> int:
    found = (re.search(r"layers\.(\d+)\.mlp", name) for name in file.names())
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _build(shape: MoonshineShape, state: State, origin: str) -> Any:
    from torch import from_numpy
    from transformers import GenerationConfig, MoonshineConfig, MoonshineForConditionalGeneration
    from transformers.initialization import no_init_weights

    head_dim = shape.hidden_size // shape.encoder_num_attention_heads
    config = MoonshineConfig(
        **asdict(shape),
        # int(head_dim · factor) features are turned
        partial_rotary_factor=round(ROTATED / head_dim + 0.005, 2),
        max_position_embeddings=POSITIONS,
        pad_token_id=2,
    )
    with no_init_weights():
        model = MoonshineForConditionalGeneration(config)
    tensors = {name: from_numpy(array) for name, array in state.items()}
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise SourceError(f"{origin} does not hold a complete Moonshine: {error}") from error
    model.tie_weights()
    model.generation_config = GenerationConfig(
        decoder_start_token_id=1, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        max_length=POSITIONS,
    )  # fmt: skip
    return model.eval()
