"""A Whisper as CTranslate2 reads it, through CTranslate2's own converter.

::

    model.bin                  the decoder, and the encoder merged back or a placeholder
    config.json                suppressed tokens, languages, alignment heads
    vocabulary.json            CTranslate2's
    tokenizer.json             faster-whisper's
    preprocessor_config.json   faster-whisper's: mel bins, window

A whole model is what faster-whisper opens anywhere. The encoder of a hybrid runs elsewhere, so
there only its width and its mel bins are read.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from liteasr._optional import require
from liteasr.atomic import atomic_directory, made_once
from liteasr.errors import UnsupportedModelError
from liteasr.export.dense import encoder_states, merged
from liteasr.export.kept import DECODER_LAYOUT, Quantization
from liteasr.export.verification import TOLERANCES, Agreement, Disagreement, probe_windows
from liteasr.sources import SpeechModel
from liteasr.sources.bundled import cache_directory

__all__ = [
    "decoder_directory",
    "decoder_fingerprint",
    "export_ctranslate2",
    "write_decoder",
]

EXTRA = "faster-whisper"
WHENCE = ("dtype", "_name_or_path", "transformers_version")


def decoder_directory(
    speech_model: SpeechModel,
    quantization: Quantization = "float32",
    fingerprint: str | None = None,
) -> Path:
    """Give a CTranslate2 directory of the model's decoder, written the first time.

    All compressions of one model share its decoder, so directories are named by its content
    and kept in the cache folder of liteasr.

    Args:
        speech_model: A Whisper, dense or compressed.
        quantization: How the weights are kept; CTranslate2 converts further as it loads.
        fingerprint: What `decoder_fingerprint` gives; taken here where left out.

    Raises:
        MissingDependencyError: The extra ``faster-whisper`` is not installed.
        StorageError: The cache folder cannot be written.
        UnsupportedModelError: The model is no Whisper.
    """
    content = fingerprint or decoder_fingerprint(speech_model)
    name = f"{content[:32]}-{quantization}-{DECODER_LAYOUT}"
    place = cache_directory() / "ctranslate2" / name
    return made_once(place, lambda: write_decoder(speech_model, place, quantization=quantization))


def write_decoder(
    speech_model: SpeechModel,
    directory: str | os.PathLike[str],
    *,
    quantization: Quantization = "float32",
) -> Path:
    """Write a CTranslate2 directory that decodes what another runtime encodes.

    Args:
        speech_model: A Whisper, dense or compressed.
        directory: Where; must not exist or be empty.
        quantization: How the weights are kept.

    Raises:
        MissingDependencyError: The extra ``faster-whisper`` is not installed.
        StorageError: Something is there already, or the disk refused.
        UnsupportedModelError: The model is no Whisper.
    """
    _require_whisper(speech_model)
    place = Path(directory)
    with atomic_directory(place) as folder:
        placeholder = _placeholder(speech_model.model.config)
        _write(speech_model, placeholder, folder, quantization)
    return place


def export_ctranslate2(
    speech_model: SpeechModel,
    directory: str | os.PathLike[str],
    *,
    quantization: Quantization = "float32",
) -> Agreement:
    """Write a whole model for faster-whisper and CTranslate2, its encoder merged back to dense.

    It transcribes as the compressed model does, at the speed of the original: CTranslate2 has
    no chains and no narrow heads. The hybrid runtime keeps the speed.

    Args:
        speech_model: A Whisper, dense or compressed.
        directory: Where; must not exist or be empty.
        quantization: How the weights are kept.

    Returns:
        How far CTranslate2's encoder is from the model's.

    Raises:
        ExportError: A layer cannot be merged, or the encoders differ by more than 1e-3 (0.2 in
            int8); nothing is written.
        MissingDependencyError: The extra ``faster-whisper`` is not installed.
        StorageError: Something is there already, or the disk refused.
        UnsupportedModelError: The model is no Whisper.
    """
    _require_whisper(speech_model)
    ctranslate2: Any = require("ctranslate2", extra=EXTRA)
    with atomic_directory(directory) as folder:
        _write(speech_model, merged(speech_model).get_encoder(), folder, quantization)
        whisper = ctranslate2.models.Whisper(str(folder))
        disagreement = Disagreement()
        full, _ = probe_windows(speech_model)  # CTranslate2 takes full windows only
        found = whisper.encode(ctranslate2.StorageView.from_array(full))
        disagreement.add(np.array(found), encoder_states(speech_model.model, full))
        agreement = disagreement.total
        agreement.require(TOLERANCES[quantization])
        del whisper
    return agreement


def decoder_fingerprint(speech_model: SpeechModel) -> str:
    """SHA-256 over everything that `write_decoder` writes from: the same only for the same."""
    _require_whisper(speech_model)
    model = speech_model.model
    digest = hashlib.sha256(_tokenizer_json(speech_model.processor.tokenizer))
    for part in (model.config, model.generation_config, speech_model.processor.feature_extractor):
        digest.update(json.dumps(_told(part.to_dict()), sort_keys=True, default=str).encode())
    weights = sorted(model.get_decoder().named_parameters())
    if not model.config.tie_word_embeddings:
        weights.append(("proj_out", model.proj_out.weight))
    with ThreadPoolExecutor() as pool:  # threads hash at the same time
        for one in pool.map(_digest, weights):
            digest.update(one)
    return digest.hexdigest()


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """Without what only says how the model was loaded: a file leaves out what is None."""
    return {k: v for k, v in values.items() if v is not None and k not in WHENCE}


def _digest(named: tuple[str, torch.Tensor]) -> bytes:
    name, weight = named
    digest = hashlib.sha256(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
    digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.digest()


def _require_whisper(speech_model: SpeechModel) -> None:
    kind = speech_model.model.config.model_type
    if kind != "whisper":
        raise UnsupportedModelError(
            f"CTranslate2's decoder serves Whisper, and {speech_model.name} is a {kind!r} model"
        )


@torch.no_grad()
def _write(
    speech_model: SpeechModel, encoder: Any, folder: Path, quantization: Quantization
) -> None:
    """Fill CTranslate2's description of a Whisper by its own loader for transformers models."""
    require("ctranslate2", extra=EXTRA)
    from ctranslate2.converters.transformers import WhisperLoader
    from ctranslate2.specs.whisper_spec import WhisperSpec

    model, processor = speech_model.model, speech_model.processor
    config, loader = model.config, WhisperLoader()
    # CTranslate2 rounds weights where they lie: without a copy the model's own would be spoiled
    decoder, projection = copy.deepcopy((model.get_decoder(), model.proj_out))
    spec = WhisperSpec(
        len(encoder.layers),
        config.encoder_attention_heads,
        config.decoder_layers,
        config.decoder_attention_heads,
    )
    loader.set_encoder(spec.encoder, encoder)
    loader.set_decoder(spec.decoder, decoder)
    loader.set_linear(spec.decoder.projection, projection)
    loader.set_config(spec.config, _configured(model), processor.tokenizer)
    loader.set_vocabulary(spec, loader.get_vocabulary(model, processor.tokenizer))
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    processor.feature_extractor.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(_tokenizer_json(processor.tokenizer))


def _configured(model: Any) -> Any:
    """What the loader reads of a model's configurations, without a table of languages that is None.

    English-only models may say so with ``lang_to_id = None``, which the loader would sort.
    """
    generation = copy.deepcopy(model.generation_config)
    if getattr(generation, "lang_to_id", {}) is None:
        del generation.lang_to_id
    return SimpleNamespace(config=model.config, generation_config=generation)


def _placeholder(config: Any) -> Any:
    """An encoder of one block, one position and zeros: CTranslate2 takes no file without one."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    smallest = {"encoder_layers": 1, "encoder_ffn_dim": 1, "max_source_positions": 1}
    encoder = WhisperEncoder(type(config)(**{**config.to_dict(), **smallest}))
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    return encoder


def _tokenizer_json(tokenizer: Any) -> bytes:
    content: str = tokenizer.backend_tokenizer.to_str(pretty=True)
    return content.encode()
