"""Recognizers of one Whisper on a CPU, each through its own Python API: waveform in, text out.

Those whose package or weights are not there are left out, and say so.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import torch

import liteasr
from liteasr.export.ctranslate2 import export_ctranslate2
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.runtime.pipelining import PipelinedInference
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
PRECISIONS = {"fp32": ("onnx", "float32"), "int8": ("onnx-int8", "int8")}


def systems(arguments: Namespace) -> Iterator[System]:
    """Names, and how to open each; nothing is loaded before it is asked for."""
    models = {"dense": arguments.model}
    models.update(entry.split("=", 1) for entry in arguments.compressed)
    for name, ref in models.items():
        for precision, choice in PRECISIONS.items():
            label = f"hybrid {name} {precision}"
            yield label, lambda ref=ref, choice=choice: hybrid(ref, *choice, batched=False)
            yield (
                f"{label} batched",
                lambda ref=ref, choice=choice: hybrid(ref, *choice, batched=True),
            )
    for precision in PRECISIONS:
        compute = PRECISIONS[precision][1]
        for batched in (False, True):
            label = f"faster-whisper {precision}{' batched' if batched else ''}"
            yield (
                label,
                lambda compute=compute, batched=batched: faster_whisper(
                    arguments.model, compute, arguments.threads, batched=batched
                ),
            )
    yield "transformers", lambda: transformers(arguments.model)
    if arguments.openai_whisper and installed("whisper"):
        yield "openai-whisper", lambda: openai_whisper(arguments.openai_whisper)
    for file in arguments.whisper_cpp if installed("pywhispercpp") else ():
        yield f"whisper.cpp {file}", lambda file=file: whisper_cpp(file, arguments.threads)
    if arguments.moonshine and installed("moonshine_voice"):
        yield "moonshine", lambda: moonshine(arguments.moonshine)


def installed(package: str) -> bool:
    """Say whether a package is there, and on the screen if it is not."""
    if find_spec(package) is None:
        print(f"left out: {package} is not installed")
        return False
    return True


def hybrid(ref: str, encoder: Any, compute_type: str, *, batched: bool) -> Hear:
    transcriber = liteasr.load_transcriber(
        ref, runtime="faster-whisper", encoder=encoder, compute_type=compute_type
    )
    assert isinstance(transcriber, FasterWhisperTranscriber)
    return hearing(transcriber.model, PipelinedInference if batched else None)


def faster_whisper(ref: str, compute_type: str, threads: int, *, batched: bool) -> Hear:
    """faster-whisper itself, on the same weights."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = liteasr.load_model(ref)
    directory = cache_directory() / "ctranslate2" / f"whole-{model.name}"
    if not directory.is_dir():
        export_ctranslate2(model, directory)
    opened = WhisperModel(
        str(directory), device="cpu", compute_type=compute_type, cpu_threads=threads
    )
    return hearing(opened, BatchedInferencePipeline if batched else None)


def hearing(model: Any, pipeline: Any) -> Hear:
    """faster-whisper's API, of whichever model."""
    opened = model if pipeline is None else pipeline(model)
    extra = {} if pipeline is None else {"batch_size": BATCH}

    def hear(waveform: np.ndarray) -> str:
        segments, _ = opened.transcribe(waveform, **GREEDY, **extra)
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
    return lambda waveform: " ".join(
        part.text for part in model.transcribe(waveform, language="en", no_context=True)
    )


def moonshine(folder: str) -> Hear:
    from moonshine_voice import ModelArch, Transcriber

    model = Transcriber(model_path=folder, model_arch=ModelArch.BASE)
    return lambda waveform: " ".join(
        line.text for line in model.transcribe_without_streaming(waveform.tolist(), 16_000).lines
    )


def use_threads(count: int) -> None:
    """Before anything is loaded: every runtime here takes as many."""
    torch.set_num_threads(count)
