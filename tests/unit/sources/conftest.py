"""A small CTranslate2 writer, an openai-whisper writer and a fake pip, shared by these tests."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")


def packed(text: str) -> bytes:
    return struct.pack("<H", len(text.encode()) + 1) + text.encode() + b"\0"


@dataclass
class Binary:
    """Writes `model.bin`; a bfloat16 array is given as the float32 it truncates."""

    version: int = 6
    specification: str = "WhisperSpec"
    variables: list[tuple[str, np.ndarray, str]] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, values: Any, kind: str = "float32") -> None:
        self.variables.append((name, np.asarray(values), kind))

    def add_matrix(self, name: str, values: np.ndarray, kind: str) -> None:
        """Quantise as CTranslate2's converters do: one scale a row, or one for int16."""
        if kind == "int8":
            largest = np.abs(values.reshape(len(values), -1)).max(axis=1)
            scale = 127.0 / np.where(largest == 0, 127.0, largest)
            rows = scale.reshape(-1, *[1] * (values.ndim - 1))
            self.add(name, np.rint(values * rows), "int8")
            self.add(f"{name}_scale", scale)
        elif kind == "int16":
            scale = np.float32(2**10 / np.abs(values).max())
            self.add(name, np.rint(values * scale), "int16")
            self.add(f"{name}_scale", scale)
        else:
            self.add(name, values, kind)

    def encode(self) -> bytes:
        chunks = [struct.pack("<I", self.version), packed(self.specification)]
        chunks.append(struct.pack("<II", 3, len(self.variables)))
        for name, values, kind in self.variables:
            if kind == "bfloat16":
                data = (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
            else:
                data = values.astype(np.dtype(kind).newbyteorder("<")).tobytes()
            chunks.append(packed(name) + struct.pack("<B", values.ndim))
            chunks.append(struct.pack(f"<{values.ndim}I", *values.shape))
            chunks.append(struct.pack("<BI", TYPES.index(kind), len(data)) + data)
        chunks.append(struct.pack("<I", len(self.aliases)))
        chunks += [packed(alias) + packed(name) for alias, name in self.aliases]
        return b"".join(chunks)


def _linear(state: dict[str, np.ndarray], names: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    weights = [state[f"{name}.weight"] for name in names]
    biases = [state.get(f"{name}.bias", np.zeros(len(w))) for name, w in zip(names, weights)]  # noqa: B905
    return np.concatenate(weights), np.concatenate(biases)


def ct2_whisper(model: Any, kind: str = "float32") -> Binary:
    """Lay a transformers Whisper out as CTranslate2's converter does."""
    state = {key.removeprefix("model."): v.numpy() for key, v in model.state_dict().items()}
    plain = kind if kind in ("float32", "float16", "bfloat16") else "float32"
    made = Binary()

    def norm(target: str, source: str) -> None:
        made.add(f"{target}/gamma", state[f"{source}.weight"], plain)
        made.add(f"{target}/beta", state[f"{source}.bias"], plain)

    def linear(target: str, *sources: str) -> None:
        weight, bias = _linear(state, sources)
        made.add_matrix(f"{target}/weight", weight, kind)
        made.add(f"{target}/bias", bias, plain)

    for side in ("encoder", "decoder"):
        made.add(f"{side}/num_heads", np.int16(model.config.encoder_attention_heads), "int16")
        made.add(
            f"{side}/position_encodings/encodings", state[f"{side}.embed_positions.weight"], plain
        )
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for i in range(getattr(model.config, f"{side}_layers")):
            old, new = f"{side}.layers.{i}", f"{side}/layer_{i}"
            parts = [f"{old}.self_attn.{p}_proj" for p in ("q", "k", "v")]
            norm(f"{new}/self_attention/layer_norm", f"{old}.self_attn_layer_norm")
            linear(f"{new}/self_attention/linear_0", *parts)
            linear(f"{new}/self_attention/linear_1", f"{old}.self_attn.out_proj")
            if side == "decoder":
                cross = f"{old}.encoder_attn"
                norm(f"{new}/attention/layer_norm", f"{cross}_layer_norm")
                linear(f"{new}/attention/linear_0", f"{cross}.q_proj")
                linear(f"{new}/attention/linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
                linear(f"{new}/attention/linear_2", f"{cross}.out_proj")
            norm(f"{new}/ffn/layer_norm", f"{old}.final_layer_norm")
            linear(f"{new}/ffn/linear_0", f"{old}.fc1")
            linear(f"{new}/ffn/linear_1", f"{old}.fc2")
    linear("encoder/conv1", "encoder.conv1")
    linear("encoder/conv2", "encoder.conv2")
    made.add("decoder/activation", np.int8(3), "int8")
    made.add("decoder/scale_embeddings", np.int8(0), "int8")
    made.add_matrix("decoder/embeddings/weight", state["decoder.embed_tokens.weight"], kind)
    made.aliases.append(("decoder/projection/weight", "decoder/embeddings/weight"))
    return made


def openai_checkpoint(model: Any) -> dict[str, Any]:
    """Name a transformers Whisper's weights as openai-whisper does."""
    renames = (
        ("model.", ""), (".layers.", ".blocks."), ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("encoder_attn", "cross_attn"), ("self_attn_layer_norm", "attn_ln"), ("self_attn", "attn"),
        ("final_layer_norm", "mlp_ln"), ("fc1", "mlp.0"), ("fc2", "mlp.2"), ("q_proj", "query"),
        ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"),
        ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
        ("embed_tokens", "token_embedding"), ("embed_positions.weight", "positional_embedding"),
    )  # fmt: skip
    state = {}
    for key, tensor in model.state_dict().items():
        if key == "proj_out.weight":
            continue
        for new, old in renames:
            key = key.replace(new, old)
        state[key] = tensor.clone()
    state["alignment_heads"] = torch.zeros(2, 4)  # some versions keep this buffer
    config = model.config
    dims = {
        "n_mels": config.num_mel_bins, "n_audio_ctx": config.max_source_positions,
        "n_audio_state": config.d_model, "n_audio_head": config.encoder_attention_heads,
        "n_audio_layer": config.encoder_layers, "n_vocab": config.vocab_size,
        "n_text_ctx": config.max_target_positions, "n_text_state": config.d_model,
        "n_text_head": config.decoder_attention_heads, "n_text_layer": config.decoder_layers,
    }  # fmt: skip
    return {"dims": dims, "model_state_dict": state}


@pytest.fixture
def ct2_binary() -> Callable[..., Binary]:
    return ct2_whisper


@pytest.fixture
def empty_binary() -> type[Binary]:
    return Binary


@pytest.fixture
def as_openai() -> Callable[[Any], dict[str, Any]]:
    return openai_checkpoint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, so that no test touches the user's."""
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def ct2_folder(tiny_speech: Any, tmp_path: Path) -> Callable[..., Path]:
    """A CTranslate2 folder of the tiny Whisper with its tokenizer."""

    def make(kind: str = "float32", **changes: Any) -> Path:
        folder = tmp_path / f"ct2-{kind}"
        folder.mkdir()
        binary = ct2_whisper(tiny_speech.model, kind)
        for name, value in changes.items():
            setattr(binary, name, value)
        (folder / "model.bin").write_bytes(binary.encode())
        tiny_speech.processor.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return make


@pytest.fixture
def quiet_transformers() -> Any:
    """Saving and loading draw progress bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
