"""Models in forms that run without liteasr: ONNX, CTranslate2, and dense matrices."""

from liteasr.export.ctranslate2 import export_ctranslate2
from liteasr.export.decoder import export_decoder
from liteasr.export.dense import export_dense
from liteasr.export.description import EncoderDescription
from liteasr.export.encoder import ExportedEncoder, export_encoder
from liteasr.export.onnx import ExportedModel, encoder_file, export_onnx
from liteasr.export.precision import Precision
from liteasr.export.session import open_session
from liteasr.export.verification import Agreement

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
