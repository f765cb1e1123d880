"""Recognizers of one Whisper on a CPU, each through its own Python API: waveform in, text out.

Those whose package or weights are not there are left out, and say so.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from ctranslate2 import get_supported_compute_types
from faster_whisper import BatchedInferencePipeline

import liteasr
from liteasr.export.ctranslate2 import export_ctranslate2
from liteasr.runtime import ContextChoice
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.runtime.pipelining import PipelinedInference
from liteasr.runtime.pooling import PoolingChoice
from liteasr.sources.bundled import cache_directory

__all__ = ["Hear", "System", "systems"]

Hear: TypeAlias = Callable[[np.ndarray], str]
System: TypeAlias = tuple[str, Callable[[], Hear]]

BATCH = 8
# what faster-whisper and the hybrids are both given
GREEDY = {
    "language": "en", "beam_size": 1, "best_of": 1, "condition_on_previous_text": False,
    "without_timestamps": False,
}  # fmt: skip
BATCHED = {"batch_size": BATCH}
UNTIMED = {**BATCHED, "without_timestamps": True}  # what faster-whisper does in batches unasked
# window after window, or batches: the encoder one batch ahead of the decoder, or in turn with it
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "": (None, {}),
    " batched": (PipelinedInference, BATCHED),
    " batched untimed": (PipelinedInference, UNTIMED),
    " in turn batched": (BatchedInferencePipeline, BATCHED),
}
# the encoder, and what CTranslate2 decodes in; auto is our decoder, in int8
HYBRIDS = {
    "auto": ("auto", "auto"),
    "fp32-auto": ("onnx", "auto"),
    "int8-auto": ("onnx-int8", "auto"),
    "fp32": ("onnx", "float32"),
    "int8": ("onnx-int8", "int8"),
    "openvino-bf16": ("openvino", "int8"),
    "torch-bf16": ("torch-bfloat16", "int8"),
}
FASTER_WHISPER = {
    "fp32": "float32",
    "int8": "int8",
    "bf16": "bfloat16",
    "int8-bf16": "int8_bfloat16",
}


def systems(arguments: Namespace) -> Iterator[System]:
    """Names, and how to open each; nothing is loaded before it is asked for."""
    models = {"dense": arguments.model}
    models.update(entry.split("=", 1) for entry in arguments.compressed)
    kinds = dict(HYBRIDS)
    if not installed("openvino"):
        del kinds["openvino-bf16"]
    for name, ref in models.items():
        for precision, choice in kinds.items():
            for pooling, (way, decoding) in product(arguments.pooling, WAYS.items()):
                pairs = "" if pooling == "auto" else f" pooling {pooling}"
                yield (
                    f"hybrid {name} {precision}{way}{pairs}",
                    partial(
                        hybrid, ref, *choice, *decoding, context=arguments.context, pooling=pooling
                    ),
                )
            yield (
                f"hybrid {name} {precision} in streams",
                partial(in_streams, ref, *choice, arguments.threads, context=arguments.context),
            )
    supported = get_supported_compute_types("cpu")
    for precision, compute in FASTER_WHISPER.items():
        if compute not in supported:
            print(f"left out: CTranslate2 has no {compute} on this processor")
            continue
        for way, (ours, options) in WAYS.items():
            if ours is not BatchedInferencePipeline:
                pipeline = None if ours is None else BatchedInferencePipeline
                yield (
                    f"faster-whisper {precision}{way}",
                    partial(
                        faster_whisper,
                        arguments.model, compute, arguments.threads, pipeline, options,
                    ),
                )  # fmt: skip
    yield "transformers", lambda: transformers(arguments.model)
    if arguments.openai_whisper and installed("whisper"):
        yield "openai-whisper", lambda: openai_whisper(arguments.openai_whisper)
    for file in arguments.whisper_cpp if installed("pywhispercpp") else ():
        yield (
            f"whisper.cpp {Path(file).stem}",
            lambda file=file: whisper_cpp(file, arguments.threads),
        )
    if arguments.moonshine and installed("moonshine_voice"):
        yield "moonshine", lambda: moonshine(arguments.moonshine)


def installed(package: str) -> bool:
    """Say whether a package is there, and on the screen if it is not."""
    if find_spec(package) is None:
        print(f"left out: {package} is not installed")
        return False
    return True


def hybrid(
    ref: str,
    encoder: Any,
    compute_type: str,
    pipeline: Any,
    options: dict[str, Any],
    *,
    context: ContextChoice,
    pooling: PoolingChoice,
) -> Hear:
    transcriber = liteasr.load_transcriber(
        ref, runtime="faster-whisper", encoder=encoder, compute_type=compute_type
    )
    assert isinstance(transcriber, FasterWhisperTranscriber)
    return hearing(transcriber.model.reading(context=context, pooling=pooling), pipeline, options)


def in_streams(
    ref: str, encoder: Any, compute_type: str, streams: int, *, context: ContextChoice
) -> Hear:
    """A stretch of the recording for every thread; the defaults are the options of all others."""
    transcriber = liteasr.load_transcriber(
        ref, runtime="faster-whisper", encoder=encoder, compute_type=compute_type, streams=streams
    )
    options = liteasr.TranscriptionOptions(language=GREEDY["language"], context=context)
    return lambda waveform: transcriber.transcribe(waveform, options).text


def faster_whisper(
    ref: str, compute_type: str, threads: int, pipeline: Any, options: dict[str, Any]
) -> Hear:
    """faster-whisper itself, on the same weights."""
    from faster_whisper import WhisperModel

    model = liteasr.load_model(ref)
    directory = cache_directory() / "ctranslate2" / f"whole-{model.name}"
    if not directory.is_dir():
        export_ctranslate2(model, directory)
    opened = WhisperModel(
        str(directory), device="cpu", compute_type=compute_type, cpu_threads=threads
    )
    return hearing(opened, pipeline, options)


def hearing(model: Any, pipeline: Any, options: dict[str, Any]) -> Hear:
    """faster-whisper's API, of whichever model."""
    opened = model if pipeline is None else pipeline(model)

    def hear(waveform: np.ndarray) -> str:
        segments, _ = opened.transcribe(waveform, **{**GREEDY, **options})
        return "".join(segment.text for segment in segments)

    return hear


def transformers(ref: str) -> Hear:
    from transformers import pipeline

    speech = liteasr.load_model(ref)
    recognizer = pipeline(
        "automatic-speech-recognition",
        model=speech.model,
        tokenizer=speech.processor.tokenizer,
        feature_extractor=speech.processor.feature_extractor,
        device="cpu",
    )
    named = speech.model.generation_config.is_multilingual
    options = {"language": "en", "task": "transcribe"} if named else {}

    def hear(waveform: np.ndarray) -> str:
        heard = recognizer(waveform.copy(), return_timestamps=True, generate_kwargs=options)
        return str(heard["text"])

    return hear


def openai_whisper(file: str) -> Hear:
    import whisper

    model = whisper.load_model(file, device="cpu")
    options = {"language": "en", "condition_on_previous_text": False, "fp16": False}
    return lambda waveform: str(model.transcribe(waveform, **options)["text"])


def whisper_cpp(file: str, threads: int) -> Hear:
    from pywhispercpp.model import Model

    model = Model(file, n_threads=threads, print_progress=False, print_realtime=False)
    options = {"language": "en", "no_context": True, "greedy": {"best_of": 1}}
    return lambda waveform: " ".join(part.text for part in model.transcribe(waveform, **options))


def moonshine(folder: str) -> Hear:
    from moonshine_voice import ModelArch, Transcriber

    model = Transcriber(model_path=folder, model_arch=ModelArch.BASE)
    return lambda waveform: " ".join(
        line.text for line in model.transcribe_without_streaming(waveform.tolist(), 16_000).lines
    )


def use_threads(count: int) -> None:
    """Before anything is loaded: every runtime here takes as many."""
    torch.set_num_threads(count)
