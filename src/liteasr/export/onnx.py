"""A whole recognizer as ONNX files, in the layout of transformers.js, optimum and onnx-asr.

::

    onnx/encoder_model.onnx           with real factors; _int8 after the name where it is
    onnx/decoder_model_merged.onnx    with its cache
    config.json, generation_config.json, preprocessor_config.json
    tokenizer.json, tokenizer_config.json, vocab.json, added_tokens.json
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from liteasr.atomic import atomic_directory
from liteasr.export.decoder import export_decoder
from liteasr.export.description import EncoderDescription
from liteasr.export.encoder import export_encoder
from liteasr.export.precision import Precision
from liteasr.export.verification import Agreement
from liteasr.plan import RankPlan
from liteasr.sources import SpeechModel

__all__ = ["ExportedModel", "encoder_file", "export_onnx"]

SUFFIXES: dict[Precision, str] = {"float32": "", "int8": "_int8"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedModel:
    """What was written.

    Attributes:
        directory: Where.
        description: What the encoder's file says about itself.
        encoder: How far the encoder's states are from the model's.
        decoder: How far the logits are.
        bytes: Of all files.
    """

    directory: Path
    description: EncoderDescription
    encoder: Agreement
    decoder: Agreement
    bytes: int


def encoder_file(directory: str | os.PathLike[str], precision: Precision) -> Path:
    """Where the encoder of an exported directory is."""
    return Path(directory) / "onnx" / f"encoder_model{SUFFIXES[precision]}.onnx"


def export_onnx(
    speech: SpeechModel,
    directory: str | os.PathLike[str],
    *,
    precision: Precision = "float32",
    plan: RankPlan | None = None,
) -> ExportedModel:
    """Write everything that is needed to transcribe without PyTorch, whole or not at all.

    Args:
        speech: The model, dense or compressed.
        directory: Where; must not exist or be empty.
        precision: ``float32`` or ``int8``, of encoder and decoder.
        plan: The rank plan in effect, to be kept in the encoder's file.

    Raises:
        ExportError: A layer cannot be exported, or a file differs from the model.
        StorageError: There is something already, or the disk refused.
        LiteASRError: What `export_encoder` and `export_decoder` raise.
    """
    with atomic_directory(directory) as folder:
        encoder = export_encoder(
            speech, encoder_file(folder, precision), precision=precision, plan=plan
        )
        decoder = export_decoder(
            speech,
            folder / "onnx" / f"decoder_model_merged{SUFFIXES[precision]}.onnx",
            precision=precision,
        )
        _write_companions(speech, folder)
        written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return ExportedModel(
        directory=Path(directory),
        description=encoder.description,
        encoder=encoder.agreement,
        decoder=decoder,
        bytes=written,
    )


def _write_companions(speech: SpeechModel, folder: Path) -> None:
    """Configurations, with languages and timestamps, and the vocabulary in every form read."""
    processor = speech.processor
    processor.save_pretrained(folder)
    processor.feature_extractor.save_pretrained(folder)
    speech.model.generation_config.save_pretrained(folder)
    config = json.loads(speech.model.config.to_json_string(use_diff=False))
    names = sorted(file.name for file in (folder / "onnx").glob("*.onnx_data"))
    if names:  # transformers.js fetches second files only where it is told of them
        graphs = {name.removesuffix("_data"): 1 for name in names}
        config["transformers.js_config"] = {"use_external_data_format": graphs}
    _write_json(folder / "config.json", config)
    added = processor.tokenizer.get_added_vocab()
    vocabulary = processor.tokenizer.get_vocab()
    _write_json(folder / "added_tokens.json", added)
    _write_json(
        folder / "vocab.json",
        {token: number for token, number in vocabulary.items() if token not in added},
    )


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
