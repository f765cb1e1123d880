"""Transcribe a corpus and score it."""

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version

from liteasr.corpus import Utterance
from liteasr.errors import CorpusError
from liteasr.evaluation.error_rate import score_utterance
from liteasr.evaluation.normalize import language_code
from liteasr.evaluation.report import EvaluationReport, ScoredUtterance
from liteasr.progress import Track, silent
from liteasr.runtime import Transcriber, TranscriptionOptions

__all__ = ["evaluate"]

PACKAGES = (
    "liteasr", "torch", "transformers", "faster-whisper", "ctranslate2", "onnxruntime", "jiwer",
    "whisper-normalizer",
)  # fmt: skip


def evaluate(
    transcriber: Transcriber,
    corpus: Iterable[Utterance],
    options: TranscriptionOptions | None = None,
    *,
    track: Track = silent,
) -> EvaluationReport:
    """Transcribe every utterance and compare with its text.

    Where the options name no language, each utterance's own is used. The first utterance is
    transcribed once before the clock starts, then again as all others are.

    Args:
        transcriber: Any runtime's.
        corpus: Utterances with text.
        options: How to decode.
        track: Shows progress.

    Raises:
        CorpusError: The corpus is empty, or an utterance has no text.
        MissingDependencyError: The extra ``evaluate`` is not installed.
    """
    options = options or TranscriptionOptions()
    utterances = list(corpus)
    _check(utterances)
    score_utterance("", "", "en")  # a missing package should not be found after hours
    first = utterances[0]
    model = transcriber.transcribe(first.load(), _options_for(first, options)).model
    scored = tuple(
        _scored(transcriber, utterance, options)
        for utterance in track(utterances, description="evaluate", total=len(utterances))
    )
    return EvaluationReport(
        model=model,
        utterances=scored,
        options=asdict(options),
        environment=_environment(),
        warm_up=f"1 untimed pass over {first.id}",
    )


def _check(utterances: list[Utterance]) -> None:
    if not utterances:
        raise CorpusError("the corpus is empty: nothing to evaluate")
    silent_ones = [one.id for one in utterances if one.text is None]
    if silent_ones:
        raise CorpusError(
            f"utterance {silent_ones[0]} has no text to compare with "
            f"({len(silent_ones)} of {len(utterances)} have none)"
        )


def _scored(
    transcriber: Transcriber, utterance: Utterance, options: TranscriptionOptions
) -> ScoredUtterance:
    chosen = _options_for(utterance, options)
    start = time.perf_counter()
    waveform = utterance.load()
    transcript = transcriber.transcribe(waveform, chosen)
    elapsed_s = time.perf_counter() - start
    # a translation is English whatever was spoken
    heard = utterance.language or chosen.language or transcript.language
    spoken = "en" if options.task == "translate" else heard
    language = language_code(spoken)
    reference = utterance.text or ""
    return ScoredUtterance(
        id=utterance.id,
        language=language,
        reference=reference,
        hypothesis=transcript.text,
        counts=score_utterance(reference, transcript.text, language),
        duration_s=transcript.duration_s,
        elapsed_s=elapsed_s,
    )


def _options_for(utterance: Utterance, options: TranscriptionOptions) -> TranscriptionOptions:
    if options.language is not None or utterance.language is None:
        return options
    return replace(options, language=language_code(utterance.language))


def _environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["cpus"] = str(os.cpu_count())
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree, or the runtime does not need it
            found[package] = "not installed"
    return found
