"""A transformers speech recognizer from a local folder or the Hugging Face hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liteasr.encoders import prepare_
from liteasr.errors import IntegrityError, SourceError
from liteasr.integrity import sha256_of
from liteasr.sources.base import SpeechModel
from liteasr.sources.hub import find_damaged_weights, read_config
from liteasr.sources.whisper_generation import complete_generation_config

__all__ = ["load_huggingface"]

_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model", "tokenizer_config.json")
_TRAINING_ONLY = ("masked_spec_embed",)  # many wav2vec2 checkpoints leave it out


def load_huggingface(ref: str) -> SpeechModel:
    """Open a model with the classes of transformers; code inside a repository is never run.

    Raises:
        IntegrityError: A weights file is truncated or damaged.
        SourceError: The model cannot be found, is incomplete or is no speech recognizer.
    """
    from transformers import AutoProcessor

    raw = read_config(ref)
    if Path(ref).is_dir():
        _require_files(Path(ref))
    with _source_errors(ref):
        model = _load_model(ref, raw)
        processor = AutoProcessor.from_pretrained(ref, trust_remote_code=False)
    prepare_(model)
    if model.config.model_type == "whisper":
        _complete_whisper(model, processor, raw)
    name = Path(ref).resolve().name if Path(ref).is_dir() else ref.rsplit("/", 1)[-1]
    return SpeechModel(name=name, origin=ref, model=model.eval(), processor=processor)


def _load_model(ref: str, raw: dict[str, Any]) -> Any:
    import torch

    model, report = _opener(raw).from_pretrained(
        ref,
        dtype=torch.float32,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = [key for key in report["missing_keys"] if not key.endswith(_TRAINING_ONLY)]
    if missing:  # transformers would go on with random numbers
        raise SourceError(
            f"{ref} lacks {len(missing)} weights, such as {sorted(missing)[0]}: fetch it again"
        )
    return model


def _opener(raw: dict[str, Any]) -> Any:
    """The Auto class for the task, or the model's own where it is no plain recognizer."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES

    names = raw.get("architectures") or ()
    if any(name.endswith("ForCTC") for name in names):
        return transformers.AutoModelForCTC
    own = next((name for name in names if name.endswith("ForConditionalGeneration")), None)
    kind = raw.get("model_type")
    listed = kind in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
    if own is not None and kind in CONFIG_MAPPING and not listed:
        return getattr(transformers, own, transformers.AutoModelForSpeechSeq2Seq)
    return transformers.AutoModelForSpeechSeq2Seq


def _complete_whisper(model: Any, processor: Any, raw: dict[str, Any]) -> None:
    """Fill the generation configuration that old or fine-tuned checkpoints leave out."""
    given = model.generation_config
    if getattr(given, "no_timestamps_token_id", None) is None:
        # There was no file, or one too old to have tasks. Of config.json only suppress_tokens
        # is the model's word: WhisperConfig writes English begin_suppress_tokens for any model.
        given.suppress_tokens = raw.get("suppress_tokens")
        given.begin_suppress_tokens = None
    model.generation_config = complete_generation_config(given, model.config, processor.tokenizer)
    model.config.forced_decoder_ids = None


def _require_files(folder: Path) -> None:
    for kind, names in (("preprocessor", _PREPROCESSORS), ("tokenizer", _TOKENIZERS)):
        if not any((folder / name).is_file() for name in names):
            raise SourceError(
                f"{folder} has no {kind} (none of {', '.join(names)}): save the model's processor "
                "there with processor.save_pretrained(...)"
            )


@contextmanager
def _source_errors(ref: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SourceError:
        raise
    except SafetensorError as error:
        damaged = find_damaged_weights(ref)
        what = f"{damaged} (SHA-256 {sha256_of(damaged)})" if damaged else f"{ref}"
        raise IntegrityError(f"{what} is truncated or damaged: {error}; fetch it again") from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SourceError(f"{ref} cannot be opened with transformers: {reason}") from error
