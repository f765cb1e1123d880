"""Compressed checkpoints behind transformers' Auto classes and pipelines.

Imported only once transformers has been, by the import hooks in ``liteasr/__init__.py``. The
classes below are doors, not models: ``from_pretrained`` gives the ordinary transformers class
with reduced layers inside, so every pipeline treats it as the model it is.

The hooks run while transformers is still being imported, so this module takes nothing from it
but ``configuration_utils`` and the module that the hook hands over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers.configuration_utils import PretrainedConfig

from liteasr.checkpoint.format import read_config
from liteasr.checkpoint.store import load
from liteasr.sources.hub import download_folder

__all__ = ["LiteASRConfig", "LiteWhisperConfig", "register_configs", "register_models"]

HUB = ("cache_dir", "force_download", "local_files_only", "revision", "token")
KNOWN = {
    *HUB,
    *("dtype", "torch_dtype", "device_map", "attn_implementation", "config"),
    # what the Auto classes add, and what is true of these checkpoints anyway
    *("trust_remote_code", "_from_auto", "_commit_hash"),
    *("low_cpu_mem_usage", "use_safetensors", "weights_only"),
}


class LiteASRConfig(PretrainedConfig):  # type: ignore[misc]
    """``config.json`` of our own layout."""

    model_type = "liteasr"


class LiteWhisperConfig(PretrainedConfig):  # type: ignore[misc]
    """``config.json`` of the published layout."""

    model_type = "lite-whisper"


class _Door:
    """Opens a checkpoint for one task."""

    suffix: str

    @classmethod
    def from_pretrained(cls, ref: Any, **options: Any) -> Any:
        """Open a checkpoint directory or a hub repository.

        Honored: ``revision``, ``cache_dir``, ``local_files_only``, ``force_download``, ``token``,
        ``dtype``, ``attn_implementation``, and a ``device_map`` of one device.

        Raises:
            ValueError: The checkpoint is for another task, or an option cannot be honored.
            LiteASRError: What `liteasr.load` raises, or the hub does not give the repository.
        """
        if unknown := sorted(
            name for name, value in options.items() if value and name not in KNOWN
        ):
            raise ValueError(
                f"{', '.join(unknown)} cannot be honored by a compressed checkpoint: leave it out"
            )
        dtype, device = _dtype(options), _device(options)
        folder = Path(ref)
        if not folder.is_dir():
            folder = download_folder(str(ref), **{k: options[k] for k in HUB if k in options})
        architecture = read_config(folder).get("architecture", cls.suffix)
        if not str(architecture).endswith(cls.suffix):
            raise ValueError(f"{ref} holds a {architecture}, not a {cls.suffix}")
        model = load(folder).speech.model
        if attention := _attention(options):
            model.set_attn_implementation(attention)
        return model.to(device=device, dtype=dtype)


def _dtype(options: dict[str, Any]) -> torch.dtype | None:
    given = options.get("dtype", options.get("torch_dtype"))
    if given in (None, "auto"):  # as it was saved
        return None
    dtype = getattr(torch, given.removeprefix("torch."), None) if isinstance(given, str) else given
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be such as 'float16' or torch.float16, got {given!r}")
    return dtype


def _device(options: dict[str, Any]) -> torch.device | None:
    given = options.get("device_map")
    device = given[""] if isinstance(given, dict) and set(given) == {""} else given
    if device == "auto":
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        return None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device_map must be 'auto' or one device such as 'cuda:0', got {given!r}: a "
            "compressed checkpoint is not split"
        ) from error


def _attention(options: dict[str, Any]) -> str | None:
    """AutoConfig takes the option out and keeps it in the configuration."""
    kept = getattr(options.get("config"), "_attn_implementation", None)
    return options.get("attn_implementation") or kept


class LiteASRForSpeechSeq2Seq(_Door):
    """Our layout, for encoder-decoder models."""

    config_class = LiteASRConfig
    suffix = "ForConditionalGeneration"


class LiteASRForCTC(_Door):
    """Our layout, for encoders with a CTC head."""

    config_class = LiteASRConfig
    suffix = "ForCTC"


class LiteWhisperForConditionalGeneration(_Door):
    """The published layout."""

    config_class = LiteWhisperConfig
    suffix = "ForConditionalGeneration"


def register_configs(module: Any) -> None:
    """Tell AutoConfig about both layouts; ``module`` is transformers' ``configuration_auto``."""
    for config in (LiteASRConfig, LiteWhisperConfig):
        module.AutoConfig.register(config.model_type, config, exist_ok=True)


def register_models(module: Any) -> None:
    """Tell the Auto model classes about both layouts; ``module`` is ``modeling_auto``."""
    published = LiteWhisperForConditionalGeneration
    for auto, door in (
        (module.AutoModelForSpeechSeq2Seq, LiteASRForSpeechSeq2Seq),
        (module.AutoModelForCTC, LiteASRForCTC),
        (module.AutoModelForSpeechSeq2Seq, published),
        (module.AutoModel, published),
    ):
        auto.register(door.config_class, door, exist_ok=True)
