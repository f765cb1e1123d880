"""Models in forms that run without liteasr: ONNX, CTranslate2, and dense matrices.

Names are imported when first used: files are written with PyTorch and read without.
"""

from typing import TYPE_CHECKING

from liteasr._lazy import lazy_names

if TYPE_CHECKING:
    from liteasr.export.ctranslate2 import export_ctranslate2
    from liteasr.export.decoder import export_decoder
    from liteasr.export.dense import export_dense
    from liteasr.export.description import EncoderDescription
    from liteasr.export.encoder import ExportedEncoder, export_encoder
    from liteasr.export.onnx import ExportedModel, encoder_file, export_onnx
    from liteasr.export.precision import Precision
    from liteasr.export.session import open_session
    from liteasr.export.verification import Agreement

_HOMES = {
    "Agreement": "verification",
    "EncoderDescription": "description",
    "ExportedEncoder": "encoder",
    "ExportedModel": "onnx",
    "Precision": "precision",
    "encoder_file": "onnx",
    "export_ctranslate2": "ctranslate2",
    "export_decoder": "decoder",
    "export_dense": "dense",
    "export_encoder": "encoder",
    "export_onnx": "onnx",
    "open_session": "session",
}

__all__ = [
    "Agreement",
    "EncoderDescription",
    "ExportedEncoder",
    "ExportedModel",
    "Precision",
    "encoder_file",
    "export_ctranslate2",
    "export_decoder",
    "export_dense",
    "export_encoder",
    "export_onnx",
    "open_session",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
