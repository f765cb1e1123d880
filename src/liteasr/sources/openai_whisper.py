"""A ``.pt`` file of openai-whisper, turned into a transformers model."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of
from liteasr.progress import Track, silent
from liteasr.sources.base import SpeechModel
from liteasr.sources.whisper_assembly import WhisperShape, assemble
from liteasr.sources.whisper_generation import WhisperFacts
from liteasr.sources.whisper_processor import find_tokenizer

__all__ = ["load_openai", "rename_state"]


def _short_projection(match: re.Match[str]) -> str:
    return f"_attn.{match[1][0]}_proj."


# Applied in order; attn and attn_ln come after the cross_ forms that contain them.
_NAMES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(encoder|decoder)\.blocks\.", r"\1.layers."),
        (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
        (r"\.cross_attn\.", ".encoder_attn."),
        (r"\.attn_ln\.", ".self_attn_layer_norm."),
        (r"\.attn\.", ".self_attn."),
        (r"\.mlp_ln\.", ".final_layer_norm."),
        (r"\.mlp\.0\.", ".fc1."),
        (r"\.mlp\.2\.", ".fc2."),
        (r"_attn\.(query|key|value)\.", _short_projection),
        (r"_attn\.out\.", "_attn.out_proj."),
        (r"^encoder\.ln_post\.", "encoder.layer_norm."),
        (r"^decoder\.ln\.", "decoder.layer_norm."),
        (r"\.token_embedding\.", ".embed_tokens."),
        (r"\.positional_embedding$", ".embed_positions.weight"),
    )
)
_BUFFERS = ("alignment_heads", "decoder.mask")  # kept by some versions, derived anew by all


def load_openai(path: Path, *, track: Track = silent) -> SpeechModel:
    """Open a checkpoint; its tokenizer is the file beside it or the bundled one of its kind.

    Raises:
        IntegrityError: The file is truncated or damaged.
        SourceError: The file is no openai-whisper checkpoint, or holds anything but tensors.
    """
    checkpoint = _read(path)
    shape = _shape(checkpoint, path)
    return assemble(
        shape,
        rename_state(checkpoint["model_state_dict"]),
        tokenizer_json=find_tokenizer(path.parent, shape.vocab_size, track=track),
        facts=WhisperFacts(),
        name=f"whisper-{path.stem}",
        origin=str(path),
    )


def rename_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every tensor its transformers name, as a float32 copy of its own."""
    import torch

    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key in _BUFFERS:
            continue
        for pattern, replacement in _NAMES:
            key = pattern.sub(replacement, key)
        renamed[f"model.{key}"] = tensor.to(torch.float32, copy=True)
    embedding = renamed.get("model.decoder.embed_tokens.weight")
    return renamed if embedding is None else {**renamed, "proj_out.weight": embedding}


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickles that are refused below
            checkpoint = torch.load(
                path, weights_only=True, map_location="cpu", mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        if _is_cut_archive(path):
            raise _damaged(path) from error
        raise SourceError(
            f"{path} holds more than tensors, or is no PyTorch file, and was not executed: "
            "save its weights anew with torch.save({'dims': ..., 'model_state_dict': ...})"
        ) from error
    except PermissionError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path) from error
    if not isinstance(checkpoint, dict) or not {"dims", "model_state_dict"} <= checkpoint.keys():
        raise SourceError(
            f"{path} is no openai-whisper checkpoint: it needs 'dims' and 'model_state_dict'"
        )
    return checkpoint


def _shape(checkpoint: dict[str, Any], path: Path) -> WhisperShape:
    dims = checkpoint["dims"]
    try:
        return WhisperShape(
            d_model=dims["n_audio_state"],
            num_mel_bins=dims["n_mels"],
            vocab_size=dims["n_vocab"],
            encoder_layers=dims["n_audio_layer"],
            encoder_attention_heads=dims["n_audio_head"],
            encoder_ffn_dim=4 * dims["n_audio_state"],
            decoder_layers=dims["n_text_layer"],
            decoder_attention_heads=dims["n_text_head"],
            decoder_ffn_dim=4 * dims["n_text_state"],
            max_source_positions=dims["n_audio_ctx"],
            max_target_positions=dims["n_text_ctx"],
        )
    except (KeyError, TypeError) as error:
        raise SourceError(f"{path} has incomplete dimensions: {error} is missing") from error


def _is_cut_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"PK" and not zipfile.is_zipfile(path)


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path} is truncated or damaged (SHA-256 {sha256_of(path)}): fetch it again"
    )
