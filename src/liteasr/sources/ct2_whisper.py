"""A CTranslate2 Whisper, as faster-whisper keeps it, turned into a transformers model."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from liteasr.errors import SourceError
from liteasr.progress import Track, silent
from liteasr.sources.base import SpeechModel
from liteasr.sources.ctranslate2 import Float32, VariableFile, read_variables
from liteasr.sources.whisper_assembly import WhisperShape, assemble
from liteasr.sources.whisper_generation import WhisperFacts
from liteasr.sources.whisper_processor import find_tokenizer

__all__ = ["load_ctranslate2", "whisper_shape", "whisper_state"]

_GELU = 3
_NORMS = {"gamma": "weight", "beta": "bias"}


def load_ctranslate2(
    folder: Path, *, name: str | None = None, origin: str | None = None, track: Track = silent
) -> SpeechModel:
    """Open a folder with ``model.bin`` and, beside it, ``config.json`` and ``tokenizer.json``.

    Raises:
        IntegrityError: A file is truncated or damaged.
        SourceError: The folder holds another kind of model.
    """
    from torch import from_numpy

    file = read_variables(folder / "model.bin")
    if file.specification != "WhisperSpec":
        raise SourceError(f"{file.path} holds a {file.specification}, not a Whisper")
    shape = whisper_shape(file)
    state = {key: from_numpy(array) for key, array in whisper_state(file, shape).items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    return assemble(
        shape,
        state,
        tokenizer_json=find_tokenizer(folder, shape.vocab_size, track=track),
        facts=_facts(folder / "config.json"),
        name=name or folder.resolve().name,
        origin=origin or str(folder),
    )


def whisper_shape(file: VariableFile) -> WhisperShape:
    """Read the model's shape from its variables.

    Raises:
        SourceError: A variable is missing, or the model is not a plain Whisper.
    """
    if (activation := file.scalar("decoder/activation")) != _GELU:
        raise SourceError(f"{file.path} uses activation {activation}, and Whisper has GELU (3)")
    _require_tied(file)
    d_model, n_mels, _ = file.shape("encoder/conv1/weight")
    return WhisperShape(
        d_model=d_model,
        num_mel_bins=n_mels,
        vocab_size=file.shape("decoder/embeddings/weight")[0],
        encoder_layers=_count_layers(file, "encoder"),
        encoder_attention_heads=file.scalar("encoder/num_heads"),
        encoder_ffn_dim=file.shape("encoder/layer_0/ffn/linear_0/weight")[0],
        decoder_layers=_count_layers(file, "decoder"),
        decoder_attention_heads=file.scalar("decoder/num_heads"),
        decoder_ffn_dim=file.shape("decoder/layer_0/ffn/linear_0/weight")[0],
        max_source_positions=file.shape("encoder/position_encodings/encodings")[0],
        max_target_positions=file.shape("decoder/position_encodings/encodings")[0],
        scale_embedding=bool(file.scalar("decoder/scale_embeddings")),
    )


def whisper_state(file: VariableFile, shape: WhisperShape) -> dict[str, Float32]:
    """Rename and split the variables into a transformers state dictionary in float32.

    Raises:
        SourceError: A variable is missing, or a key projection has a bias.
    """
    state = {"model.decoder.embed_tokens.weight": file.float32("decoder/embeddings/weight")}
    for conv in ("conv1", "conv2"):
        _copy(file, f"encoder/{conv}", state, f"model.encoder.{conv}")
    for side, layers in (("encoder", shape.encoder_layers), ("decoder", shape.decoder_layers)):
        positions = file.float32(f"{side}/position_encodings/encodings")
        state[f"model.{side}.embed_positions.weight"] = positions
        _copy(file, f"{side}/layer_norm", state, f"model.{side}.layer_norm")
        for index in range(layers):
            _copy_layer(file, f"{side}/layer_{index}", state, f"model.{side}.layers.{index}")
    return state


def _copy_layer(file: VariableFile, source: str, state: dict[str, Float32], target: str) -> None:
    attention, mine = f"{source}/self_attention", f"{target}.self_attn"
    _copy(file, f"{attention}/layer_norm", state, f"{mine}_layer_norm")
    _split(file, f"{attention}/linear_0", state, mine, ("q_proj", "k_proj", "v_proj"))
    _copy(file, f"{attention}/linear_1", state, f"{mine}.out_proj")
    if f"{source}/attention/linear_0/weight" in file:
        cross, mine = f"{source}/attention", f"{target}.encoder_attn"
        _copy(file, f"{cross}/layer_norm", state, f"{mine}_layer_norm")
        _copy(file, f"{cross}/linear_0", state, f"{mine}.q_proj")
        _split(file, f"{cross}/linear_1", state, mine, ("k_proj", "v_proj"))
        _copy(file, f"{cross}/linear_2", state, f"{mine}.out_proj")
    _copy(file, f"{source}/ffn/layer_norm", state, f"{target}.final_layer_norm")
    _copy(file, f"{source}/ffn/linear_0", state, f"{target}.fc1")
    _copy(file, f"{source}/ffn/linear_1", state, f"{target}.fc2")


def _copy(file: VariableFile, source: str, state: dict[str, Float32], target: str) -> None:
    for part in ("gamma", "beta") if f"{source}/gamma" in file else ("weight", "bias"):
        state[f"{target}.{_NORMS.get(part, part)}"] = file.float32(f"{source}/{part}")


def _split(
    file: VariableFile,
    source: str,
    state: dict[str, Float32],
    target: str,
    projections: tuple[str, ...],
) -> None:
    """Take stacked projections apart; each becomes an array of its own, as saving needs."""
    for part in ("weight", "bias"):
        stacked = file.float32(f"{source}/{part}")
        for projection, block in zip(projections, np.split(stacked, len(projections)), strict=True):
            if (projection, part) != ("k_proj", "bias"):
                state[f"{target}.{projection}.{part}"] = block.copy()
            elif block.any():
                raise SourceError(f"{source} in {file.path} has a key bias, and Whisper has none")


def _count_layers(file: VariableFile, side: str) -> int:
    pattern = re.compile(rf"{side}/layer_(\d+)/")
    return 1 + max((int(m[1]) for name in file.variables if (m := pattern.match(name))), default=-1)


def _require_tied(file: VariableFile) -> None:
    output, embedding = "decoder/projection/weight", "decoder/embeddings/weight"
    same = file.aliases.get(output) == embedding or file.aliases.get(embedding) == output
    if not same and not np.array_equal(file.float32(output), file.float32(embedding)):
        raise SourceError(f"{file.path} has an output matrix of its own, and Whisper ties it")


def _facts(config_json: Path) -> WhisperFacts:
    if not config_json.is_file():
        return WhisperFacts()
    try:
        said: dict[str, Any] = json.loads(config_json.read_text(encoding="utf-8"))
        heads = said.get("alignment_heads")
        suppress, begin = said.get("suppress_ids"), said.get("suppress_ids_begin")
        return WhisperFacts(
            alignment_heads=None if heads is None else tuple((int(a), int(b)) for a, b in heads),
            suppress_tokens=None if suppress is None else tuple(map(int, suppress)),
            begin_suppress_tokens=None if begin is None else tuple(map(int, begin)),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise SourceError(f"{config_json} is no CTranslate2 configuration: {error}") from error
