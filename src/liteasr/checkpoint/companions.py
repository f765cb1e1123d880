"""What stands beside the weights: the processor and the generation configuration.

The published efficient-speech repositories lack both; there they are made from the vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liteasr.errors import CheckpointError
from liteasr.sources.whisper_generation import complete_generation_config
from liteasr.sources.whisper_processor import build_processor, find_tokenizer

__all__ = ["read_generation", "read_processor"]

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def read_processor(folder: Path, config: Any) -> Any:
    """The processor saved in the folder, or the one that all Whispers of that vocabulary share.

    Raises:
        CheckpointError: The saved processor is damaged, or missing and not Whisper's.
        SourceError: There is none, and the vocabulary is not one of OpenAI's.
    """
    from transformers import AutoProcessor

    has_features = any((folder / name).is_file() for name in PROCESSOR_FILES)
    if has_features and (folder / "tokenizer_config.json").is_file():
        try:
            return AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"the processor in {folder} is damaged: {error}") from error
    if config.model_type != "whisper":
        raise CheckpointError(f"{folder} holds no processor: copy the whole checkpoint directory")
    return build_processor(
        find_tokenizer(folder, config.vocab_size),
        n_mels=config.num_mel_bins,
        vocab_size=config.vocab_size,
    )


def read_generation(folder: Path, config: Any, processor: Any) -> Any:
    """The saved generation configuration, with whatever an older writer left out.

    Raises:
        CheckpointError: The file is damaged.
    """
    from transformers import GenerationConfig

    given = GenerationConfig()
    if (folder / "generation_config.json").is_file():
        try:
            given = GenerationConfig.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"generation_config.json is damaged: {error}") from error
    if config.model_type != "whisper":
        return given
    return complete_generation_config(given, config, processor.tokenizer)
