"""Compressed checkpoints behind transformers' Auto classes and pipelines.

Imported only once transformers has been, by the import hooks in ``liteasr/__init__.py``. The
classes below are doors, not models: ``from_pretrained`` gives the ordinary transformers class
with reduced layers inside, so every pipeline treats it as the model it is.

The hooks run while transformers is still being imported, so this module takes nothing from it
but ``configuration_utils`` and the module that the hook hands over.
"""

from __future__ import annotations

from typing import Any

from transformers.configuration_utils import PretrainedConfig

from liteasr.checkpoint.store import load

__all__ = ["LiteASRConfig", "LiteWhisperConfig", "register_configs", "register_models"]


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
    def from_pretrained(cls, directory: Any, *args: Any, **options: Any) -> Any:
        """Open a checkpoint; ``dtype`` and ``device_map`` of one device are honored.

        Raises:
            ValueError: The checkpoint holds a model for another task.
        """
        dtype = options.get("dtype", options.get("torch_dtype"))
        device = options.get("device_map")
        model = load(directory).speech.model
        if not type(model).__name__.endswith(cls.suffix):
            raise ValueError(f"{directory} holds a {type(model).__name__}, not a {cls.suffix}")
        if dtype not in (None, "auto"):
            model = model.to(dtype)
        return model.to(device) if isinstance(device, str) and device != "auto" else model


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
