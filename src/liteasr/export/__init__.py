"""Models in forms that run without liteasr: ONNX, CTranslate2, and dense matrices."""

from liteasr.export.description import EncoderDescription
from liteasr.export.encoder import ExportedEncoder, export_encoder
from liteasr.export.products import Precision
from liteasr.export.session import open_session
from liteasr.export.verification import Agreement

__all__ = [
    "Agreement",
    "EncoderDescription",
    "ExportedEncoder",
    "Precision",
    "export_encoder",
    "open_session",
]
