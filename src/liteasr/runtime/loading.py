"""The one door to the runtimes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from liteasr._optional import require, require_installed
from liteasr.collection import no_collection
from liteasr.errors import ExportError, MissingDependencyError, UnsupportedModelError
from liteasr.progress import Track, silent
from liteasr.runtime.base import Transcriber
from liteasr.runtime.encoder_files import EncoderChoice, encoder_kind
from liteasr.runtime.families import family_of
from liteasr.runtime.hardware import may_have_gpu
from liteasr.runtime.prepared import Prepared, find_prepared, keep_prepared, record_of
from liteasr.sources.base import SpeechModel
from liteasr.sources.hub import is_hub_id

if TYPE_CHECKING:
    import torch

    from liteasr.runtime.decoder_parts import DecoderParts
    from liteasr.runtime.encoding import EncoderRuntime

__all__ = ["RuntimeChoice", "load_transcriber", "transcriber_for"]

logger = logging.getLogger(__name__)

RuntimeChoice = Literal["auto", "transformers", "faster-whisper"]


def load_transcriber(
    ref: str | os.PathLike[str],
    *,
    runtime: RuntimeChoice = "auto",
    encoder: EncoderChoice = "auto",
    compute_type: str = "auto",
    batch_size: int | None = None,
    streams: int = 1,
    device: str | torch.device | None = None,
    track: Track = silent,
) -> Transcriber:
    """Open any model that `load_model` opens, ready to transcribe.

    Args:
        ref: The model.
        runtime: ``transformers``, ``faster-whisper``, or the faster of those installed.
        encoder: What encodes, see `transcriber_for`.
        compute_type: Of the runtime ``faster-whisper``: CTranslate2's, for the decoder.
        batch_size: Of the runtime ``faster-whisper``: windows that are decoded at once.
        streams: Of the runtime ``faster-whisper``: stretches of a recording that are transcribed at
            the same time, see `FasterWhisperTranscriber`.
        device: Where the runtime ``transformers`` computes, see `find_device`; the CPU where left
            out, which is what ``faster-whisper`` takes.
        track: Shows progress.

    Raises:
        ValueError: There is no such runtime, encoder, compute type or device.
        LiteASRError: What `load_model` and `transcriber_for` raise.
    """
    options = _checked(runtime, encoder, compute_type, batch_size, streams)
    with no_collection():
        record = _record(ref, runtime, device, options)
        if record is not None and (found := find_prepared(record)) is not None:
            try:
                return _hybrid(found.decoder, found.encoder.open(), options)
            except ExportError as error:
                logger.warning("the cached encoder is damaged and is made anew: %s", error)
                found.encoder.path.unlink(missing_ok=True)
        from liteasr.checkpoint import load_model

        model = load_model(ref, device=device, track=track)
        if record is None and not is_hub_id(os.fspath(ref)):  # the hub was asked already
            record = _record(ref, runtime, device, options)  # what was fetched is here now
        return _transcriber(model, runtime, options, record)


def transcriber_for(
    model: SpeechModel,
    *,
    runtime: RuntimeChoice = "transformers",
    encoder: EncoderChoice = "auto",
    compute_type: str = "auto",
    batch_size: int | None = None,
    streams: int = 1,
) -> Transcriber:
    """Give a transcriber of a model.

    Args:
        model: A dense or compressed model.
        runtime: ``transformers`` is PyTorch, on the model's own device; ``faster-whisper`` is
            an encoder of ours and CTranslate2's decoder, on the CPU. ``auto`` takes
            faster-whisper on a CPU where it is installed and serves the model, and says what it
            took in the log.
        encoder: Of the runtime ``faster-whisper``, see `encoder_for`. Of ``transformers``, ``auto``
            encodes a Whisper's full windows from a CUDA graph where the model is on a GPU (see
            `WindowEncoder`), and ``torch`` always runs the encoder as it is.
        compute_type: Of the runtime ``faster-whisper``: CTranslate2's, such as ``float32`` or
            ``int8``; ``auto`` is the fastest that the machine has, with our greedy decoder where
            onnx is installed.
        batch_size: Of the runtime ``faster-whisper``: windows that are decoded at once, cut
            where nobody speaks; None goes from window to window.
        streams: Of the runtime ``faster-whisper``: stretches of a recording that are transcribed at
            the same time, see `FasterWhisperTranscriber`.

    Raises:
        MissingDependencyError: The runtime or the encoder that was named is not installed.
        UnsupportedModelError: The runtime cannot decode the model.
        ValueError: There is no such choice; or an option of the runtime ``faster-whisper`` is
            given for ``transformers``.
    """
    options = _checked(runtime, encoder, compute_type, batch_size, streams)
    return _transcriber(model, runtime, options)


class _Options(NamedTuple):
    """Of the runtime faster-whisper alone."""

    encoder: EncoderChoice = "auto"
    compute_type: str = "auto"
    batch_size: int | None = None
    streams: int = 1


def _checked(
    runtime: RuntimeChoice,
    encoder: EncoderChoice,
    compute_type: str,
    batch_size: int | None,
    streams: int,
) -> _Options:
    """The options of the runtime faster-whisper, where choices are known and fit together."""
    if runtime not in get_args(RuntimeChoice):
        known = ", ".join(get_args(RuntimeChoice))
        raise ValueError(f"runtime must be one of {known}, got {runtime!r}")
    if encoder not in get_args(EncoderChoice):
        known = ", ".join(get_args(EncoderChoice))
        raise ValueError(f"encoder must be one of {known}, got {encoder!r}")
    options = _Options(encoder, compute_type, batch_size, streams)
    if runtime == "transformers" and options not in (_Options(), _Options("torch")):
        raise ValueError(
            "compute_type, batch_size, streams and encoders other than 'torch' are of the runtime "
            "'faster-whisper': name it, or none of them"
        )
    return options


def _record(
    ref: str | os.PathLike[str],
    runtime: RuntimeChoice,
    device: str | torch.device | None,
    options: _Options,
) -> Path | None:
    """Where it may be said what the model was made into; None where PyTorch is asked for."""
    on_cpu = device in (None, "auto") or str(device) == "cpu"
    if runtime == "transformers" or not on_cpu or (device == "auto" and may_have_gpu()):
        return None
    try:
        require_installed("faster_whisper", extra="faster-whisper")
        return record_of(ref, encoder_kind(options.encoder, quiet=True), options.compute_type)
    except MissingDependencyError:
        return None  # what is to be done then is decided where the model is known


def _transcriber(
    model: SpeechModel, runtime: RuntimeChoice, options: _Options, record: Path | None = None
) -> Transcriber:
    named = options != _Options()
    if model.model.config.model_type != "whisper":
        if runtime == "faster-whisper" or (named and runtime != "transformers"):
            raise UnsupportedModelError(
                f"the runtime 'faster-whisper' and its options are for 'whisper' models, and "
                f"{model.name} is a {model.model.config.model_type!r} model: use 'transformers'"
            )
        return _other_family(model)
    if runtime == "faster-whisper":
        return _faster_whisper(model, options, record)
    if runtime == "auto" and (made := _fastest(model, options, record)) is not None:
        return made
    from liteasr.runtime.transformers import TransformersTranscriber

    return TransformersTranscriber(model, record=not named)


def _other_family(model: SpeechModel) -> Transcriber:
    if family_of(model) == "moonshine":
        from liteasr.runtime.moonshine import MoonshineTranscriber

        return MoonshineTranscriber(model)
    from liteasr.runtime.ctc import CTCTranscriber

    return CTCTranscriber(model)


def _fastest(model: SpeechModel, options: _Options, record: Path | None) -> Transcriber | None:
    """The hybrid, where it can be had; what was named is never replaced by anything else."""
    named = options != _Options()
    if model.model.device.type != "cpu" and not named:
        logger.info("runtime: transformers, on %s", model.model.device)
        return None
    try:
        return _faster_whisper(model, options, record)
    except (MissingDependencyError, UnsupportedModelError) as reason:
        if named:
            raise
        logger.info("runtime: transformers, for %s", reason)
        return None


def _faster_whisper(model: SpeechModel, options: _Options, record: Path | None) -> Transcriber:
    require("faster_whisper", extra="faster-whisper")
    if (device := model.model.device).type != "cpu":
        raise UnsupportedModelError(
            f"the runtime 'faster-whisper' works on the CPU and {model.name} is on {device}: move "
            "it, or use 'transformers'"
        )
    from liteasr.runtime.decoder_choice import decoder_parts, require_decodable
    from liteasr.runtime.encoder_choice import encoder_of

    require_decodable(model)
    kind = encoder_kind(options.encoder)
    encodes, file = encoder_of(model, kind)
    parts = decoder_parts(model, options.compute_type)
    made = _hybrid(parts, encodes, options)
    if record is not None and file is not None:
        keep_prepared(record, Prepared(file, parts))
    return made


def _hybrid(parts: DecoderParts, encodes: EncoderRuntime, options: _Options) -> Transcriber:
    from liteasr.runtime.faster_whisper import FasterWhisperTranscriber

    made = FasterWhisperTranscriber(
        parts, encodes, batch_size=options.batch_size, streams=options.streams
    )
    logger.info("runtime: faster-whisper, %s, decoding in %s", encodes.name, made.decodes_in)
    return made
