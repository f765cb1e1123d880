"""The decoders of a model on a CPU: CTranslate2's, and our greedy one where it can be had."""

from __future__ import annotations

import logging
from pathlib import Path

from liteasr.encoders import output_pooling
from liteasr.errors import ExportError, MissingDependencyError, UnsupportedModelError
from liteasr.export.ctranslate2 import decoder_directory, decoder_fingerprint
from liteasr.export.greedy import greedy_directory
from liteasr.export.kept import kept_as
from liteasr.runtime.decoder_parts import DecoderParts, SpecialTokens
from liteasr.runtime.languages import is_multilingual
from liteasr.sources.base import SpeechModel

__all__ = ["decoder_parts", "require_decodable"]

logger = logging.getLogger(__name__)

MULTILINGUAL = 51_865  # CTranslate2's own rule, src/models/whisper.cc


def decoder_parts(speech_model: SpeechModel, compute_type: str = "auto") -> DecoderParts:
    """Convert a model's decoder the first time, and say where it is kept.

    Args:
        speech_model: A Whisper, dense or compressed.
        compute_type: Of CTranslate2, such as ``float32`` or ``int8``, which then decodes all;
            ``auto`` is the fastest that the machine has, with our greedy decoder where onnx and
            onnxruntime are installed.

    Raises:
        MissingDependencyError: The extra ``faster-whisper`` is not installed.
        StorageError: The cache folder cannot be written.
        UnsupportedModelError: CTranslate2 cannot decode the model.
    """
    require_decodable(speech_model)
    config = speech_model.model.config
    fingerprint = decoder_fingerprint(speech_model)
    return DecoderParts(
        name=speech_model.name,
        directory=decoder_directory(speech_model, kept_as(compute_type), fingerprint),
        greedy=_greedy(speech_model, fingerprint) if compute_type == "auto" else None,
        compute_type=compute_type,
        width=config.d_model,
        positions=config.max_source_positions,
        pooling=output_pooling(speech_model.model.get_encoder()),
        max_length=config.max_target_positions,
        tokens=SpecialTokens.of(speech_model.model.generation_config),
    )


def require_decodable(speech_model: SpeechModel) -> None:
    """Check that CTranslate2 takes a model for what it is.

    Raises:
        UnsupportedModelError: It knows languages, and its vocabulary is smaller than OpenAI's, or
            the other way round.
    """
    size = speech_model.model.config.vocab_size
    if is_multilingual(speech_model.model.generation_config) != (size >= MULTILINGUAL):
        raise UnsupportedModelError(
            f"CTranslate2 takes {speech_model.name} for another kind of Whisper: it knows those "
            f"that know languages by a vocabulary of at least {MULTILINGUAL}, and this one has "
            f"{size}; use the runtime 'transformers'"
        )


def _greedy(speech_model: SpeechModel, fingerprint: str) -> Path | None:
    try:
        return greedy_directory(speech_model, fingerprint)
    except MissingDependencyError as missing:
        logger.info("decoder: CTranslate2's alone, for %s", missing)
    except ExportError as error:  # found again at every start, which takes seconds
        logger.warning("decoder: CTranslate2's alone (compute_type int8 asks for it): %s", error)
    return None
