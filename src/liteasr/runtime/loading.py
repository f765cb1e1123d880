"""The one door to the runtimes."""

from __future__ import annotations

import logging
import os
from typing import Literal, NamedTuple, get_args

import torch

from liteasr._optional import require
from liteasr.checkpoint import load_model
from liteasr.collection import no_collection
from liteasr.errors import MissingDependencyError, UnsupportedModelError
from liteasr.progress import Track, silent
from liteasr.runtime.base import Transcriber
from liteasr.runtime.encoder_choice import EncoderChoice, encoder_for
from liteasr.runtime.families import family_of
from liteasr.sources.base import SpeechModel

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
    with no_collection():
        return transcriber_for(
            load_model(ref, device=device, track=track),
            runtime=runtime,
            encoder=encoder,
            compute_type=compute_type,
            batch_size=batch_size,
            streams=streams,
        )


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
    if runtime not in get_args(RuntimeChoice):
        known = ", ".join(get_args(RuntimeChoice))
        raise ValueError(f"runtime must be one of {known}, got {runtime!r}")
    if encoder not in get_args(EncoderChoice):
        known = ", ".join(get_args(EncoderChoice))
        raise ValueError(f"encoder must be one of {known}, got {encoder!r}")
    as_it_is = runtime == "transformers" and encoder == "torch"
    theirs = _Options("auto" if as_it_is else encoder, compute_type, batch_size, streams)
    if runtime == "transformers" and theirs != _Options():
        raise ValueError(
            "compute_type, batch_size, streams and encoders other than 'torch' are of the runtime "
            "'faster-whisper': name it, or none of them"
        )
    if model.model.config.model_type != "whisper":
        if runtime == "faster-whisper" or theirs != _Options():
            raise UnsupportedModelError(
                f"the runtime 'faster-whisper' and its options are for 'whisper' models, and "
                f"{model.name} is a {model.model.config.model_type!r} model: use 'transformers'"
            )
        return _other_family(model)
    if runtime == "faster-whisper":
        return _faster_whisper(model, theirs)
    if runtime == "auto" and (made := _fastest(model, theirs)) is not None:
        return made
    from liteasr.runtime.transformers import TransformersTranscriber

    return TransformersTranscriber(model, record=not as_it_is)


class _Options(NamedTuple):
    """Of the runtime faster-whisper alone."""

    encoder: EncoderChoice = "auto"
    compute_type: str = "auto"
    batch_size: int | None = None
    streams: int = 1


def _other_family(model: SpeechModel) -> Transcriber:
    if family_of(model) == "moonshine":
        from liteasr.runtime.moonshine import MoonshineTranscriber

        return MoonshineTranscriber(model)
    from liteasr.runtime.ctc import CTCTranscriber

    return CTCTranscriber(model)


def _fastest(model: SpeechModel, options: _Options) -> Transcriber | None:
    """The hybrid, where it can be had; what was named is never replaced by anything else."""
    named = options != _Options()
    if model.model.device.type != "cpu" and not named:
        logger.info("runtime: transformers, on %s", model.model.device)
        return None
    try:
        return _faster_whisper(model, options)
    except (MissingDependencyError, UnsupportedModelError) as reason:
        if named:
            raise
        logger.info("runtime: transformers, for %s", reason)
        return None


def _faster_whisper(model: SpeechModel, options: _Options) -> Transcriber:
    require("faster_whisper", extra="faster-whisper")
    if (device := model.model.device).type != "cpu":
        raise UnsupportedModelError(
            f"the runtime 'faster-whisper' works on the CPU and {model.name} is on {device}: move "
            "it, or use 'transformers'"
        )
    from liteasr.runtime.faster_whisper import FasterWhisperTranscriber, require_decodable

    require_decodable(model)
    encodes = encoder_for(model, options.encoder)
    made = FasterWhisperTranscriber(
        model,
        encodes,
        compute_type=options.compute_type,
        batch_size=options.batch_size,
        streams=options.streams,
    )
    logger.info("runtime: faster-whisper, %s, decoding in %s", encodes.name, made.decodes_in)
    return made
