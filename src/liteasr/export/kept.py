"""Exported files that liteasr keeps in its cache folder: what they are called and hold.

Their folders and names end in the version of liteasr and the number of a layout, which is to be
raised where the same version writes something else.
"""

from typing import Any, Literal

from liteasr._optional import require

__all__ = [
    "DECODER_LAYOUT",
    "ENCODER_LAYOUT",
    "GREEDY_LAYOUT",
    "MEMORY",
    "STEP",
    "Quantization",
    "kept_as",
]

DECODER_LAYOUT = 1  # of CTranslate2
ENCODER_LAYOUT = 3
GREEDY_LAYOUT = 2

MEMORY, STEP = "memory.onnx", "step.onnx"  # of our greedy decoder

Quantization = Literal["float32", "int8"]


def kept_as(compute_type: str) -> Quantization:
    """How CTranslate2's weights are kept: as they will be computed with.

    Turning float32 into int8 takes CTranslate2 longer than all of the rest. ``auto`` computes in
    int8 wherever the processor can.

    Raises:
        MissingDependencyError: The extra ``faster-whisper`` is not installed.
    """
    ctranslate2: Any = require("ctranslate2", extra="faster-whisper")
    int8 = compute_type.startswith("int8") or (
        compute_type == "auto" and "int8" in ctranslate2.get_supported_compute_types("cpu")
    )
    return "int8" if int8 else "float32"
