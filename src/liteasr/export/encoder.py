"""An encoder as one ONNX file, compared with the model before anyone sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from liteasr.encoders import adapter_for, encoder_parameters
from liteasr.errors import UnsupportedModelError
from liteasr.export.description import EncoderDescription
from liteasr.export.precision import Precision, products_for
from liteasr.export.verification import TOLERANCES, Agreement, Window, compare, probe_windows
from liteasr.export.whisper_encoder import (
    FRAMES_PER_POSITION,
    whisper_encoder_flops,
    whisper_encoder_graph,
)
from liteasr.export.writing import write_verified
from liteasr.pivoting import unpivoted_
from liteasr.plan import RankPlan
from liteasr.sources import SpeechModel

__all__ = ["ExportedEncoder", "export_encoder"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedEncoder:
    """What was written.

    Attributes:
        path: The graph; large weights are beside it in ``NAME_data``.
        description: What the file says about itself.
        agreement: How far it is from the model.
    """

    path: Path
    description: EncoderDescription
    agreement: Agreement


def export_encoder(
    speech: SpeechModel,
    path: str | os.PathLike[str],
    *,
    precision: Precision = "float32",
    plan: RankPlan | None = None,
    windows: Iterable[Window] | None = None,
    tolerance: float | None = None,
    external_from_bytes: int | None = None,
) -> ExportedEncoder:
    """Write an encoder with its factors as they are: dense, chains, narrower heads, mixed.

    The file takes windows of any length and batch. It appears only once ONNX Runtime gave what
    the model gives.

    Args:
        speech: The model.
        path: Name of the file, which is replaced if there is one.
        precision: ``float32``, or ``int8`` for weights and activations of all products.
        plan: The rank plan in effect, to be kept in the file.
        windows: Features to compare with; a synthetic voice where left out.
        tolerance: Largest relative error; 1e-3 in float32 and 0.2 in int8 where left out.
        external_from_bytes: From this size on, 256 MiB where left out, weights go into a second
            file, ``NAME_data``.

    Raises:
        ValueError: There is no such precision.
        ExportError: A layer cannot be exported, or the file differs from the model.
        MissingDependencyError: onnx or onnxruntime is not installed.
        StorageError: The disk refused.
        UnsupportedModelError: No graph is known for this architecture.
    """
    products = products_for(precision)
    description = _describe(speech, precision, plan)
    place = Path(path)
    with unpivoted_(speech.model, keep=False):  # coarse numbers want balanced factors
        graph = whisper_encoder_graph(adapter_for(speech.model).encoder(speech.model), products)
        agreement = write_verified(
            graph,
            place,
            lambda session: compare(speech, session, windows or probe_windows(speech)),
            properties=description.to_properties(),
            tolerance=TOLERANCES[precision] if tolerance is None else tolerance,
            external_from_bytes=external_from_bytes,
        )
    return ExportedEncoder(path=place, description=description, agreement=agreement)


def _describe(
    speech: SpeechModel, precision: Precision, plan: RankPlan | None
) -> EncoderDescription:
    kind = speech.model.config.model_type
    if kind != "whisper":
        raise UnsupportedModelError(
            f"{speech.name} is a {kind!r} model: only encoders of 'whisper' can be exported"
        )
    encoder, config = adapter_for(speech.model).encoder(speech.model), speech.model.config
    return EncoderDescription(
        model=speech.name,
        model_type=kind,
        n_mels=config.num_mel_bins,
        frames=FRAMES_PER_POSITION * adapter_for(speech.model).positions(encoder),
        width=config.d_model,
        precision=precision,
        parameters=encoder_parameters(speech.model),
        flops=whisper_encoder_flops(encoder),
        liteasr=version("liteasr"),
        plan={} if plan is None else plan.to_dict(),
    )
