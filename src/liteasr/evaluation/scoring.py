"""Transcribe a corpus and score it."""

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version

from liteasr.corpus import Utterance
from liteasr.errors import CorpusError
from liteasr.evaluation.error_rate import align_utterance, score_utterance
from liteasr.evaluation.hypotheses import rescore
from liteasr.evaluation.journal import Journal
from liteasr.evaluation.normalize import Rules, language_code, normalizer_for
from liteasr.evaluation.report import EvaluationReport, ScoredUtterance
from liteasr.progress import Track, silent
from liteasr.runtime import Transcriber, TranscriptionOptions

__all__ = ["environment", "evaluate", "scorable"]

PACKAGES = (
    "liteasr", "torch", "transformers", "faster-whisper", "ctranslate2", "onnxruntime", "jiwer",
    "whisper-normalizer",
)  # fmt: skip
UNSCORED = "ignore time segment in scoring"  # a reference of some corpora of the leaderboard


def evaluate(
    transcriber: Transcriber,
    corpus: Iterable[Utterance],
    options: TranscriptionOptions | None = None,
    *,
    rules: Rules = "whisper",
    kept: str | os.PathLike[str] | None = None,
    track: Track = silent,
) -> EvaluationReport:
    """Transcribe every utterance and compare with its text.

    Where the options name no language, each utterance's own is used. The first utterance is
    transcribed once before the clock starts, then again as all others are.

    Args:
        transcriber: Any runtime's.
        corpus: Utterances with text.
        options: How to decode.
        rules: How texts are normalized; ``open-asr`` also leaves out what `scorable` does.
        kept: JSONL file of the hypotheses, which grows utterance by utterance. Those that an
            earlier run kept are not transcribed again: the model and the options must be the
            same.
        track: Shows progress.

    Raises:
        CorpusError: The corpus is empty, an utterance has no text, or ``kept`` is damaged.
        MissingDependencyError: The extra ``evaluate`` is not installed.
        StorageError: The disk refused to keep a hypothesis.
    """
    options = options or TranscriptionOptions()
    score_utterance("", "", "en")  # a missing package should not be found after hours
    utterances = scorable(corpus, rules)
    journal = None if kept is None else Journal(kept)
    known = {} if journal is None else _by_utterance(rescore(journal.read(), rules))
    pending = [one for one in utterances if _key(one) not in known]
    first = (pending or utterances)[0]
    model = transcriber.transcribe(first.load(), _options_for(first, options)).model
    for utterance in track(pending, description="evaluate", total=len(pending)):
        found = _scored(transcriber, utterance, options, rules)
        known[_key(utterance)] = found
        if journal is not None:
            journal.append(found)
    scored = tuple(known[_key(one)] for one in utterances)
    if journal is not None:
        journal.finish(scored)
    return EvaluationReport(
        model=model,
        utterances=scored,
        options=asdict(options),
        environment=environment(),
        warm_up=f"1 untimed pass over {first.id}",
    )


def scorable(corpus: Iterable[Utterance], rules: Rules = "whisper") -> list[Utterance]:
    """The utterances that count: all, or with ``open-asr`` those with words left in the text.

    Raises:
        CorpusError: None are left, or an utterance has no text.
    """
    utterances = list(corpus)
    silent_ones = [one.id for one in utterances if one.text is None]
    if silent_ones:
        raise CorpusError(
            f"utterance {silent_ones[0]} has no text to compare with "
            f"({len(silent_ones)} of {len(utterances)} have none)"
        )
    if rules == "open-asr":
        utterances = [one for one in utterances if _counts(one)]
    if not utterances:
        raise CorpusError("the corpus is empty: nothing to evaluate")
    return utterances


def _counts(utterance: Utterance) -> bool:
    text = normalizer_for(utterance.language, "open-asr")(utterance.text or "")
    return text not in ("", UNSCORED)


def _key(utterance: Utterance) -> tuple[str, str]:
    """What a kept hypothesis must share with an utterance to stand for it."""
    return utterance.id, utterance.text or ""


def _by_utterance(kept: Iterable[ScoredUtterance]) -> dict[tuple[str, str], ScoredUtterance]:
    return {(one.id, one.reference): one for one in kept}


def _scored(
    transcriber: Transcriber, utterance: Utterance, options: TranscriptionOptions, rules: Rules
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
    found = align_utterance(reference, transcript.text, language, rules)
    return ScoredUtterance(
        id=utterance.id,
        language=language,
        reference=reference,
        hypothesis=transcript.text,
        counts=found.counts,
        duration_s=transcript.duration_s,
        elapsed_s=elapsed_s,
        longest_insertion=found.longest_insertion,
    )


def _options_for(utterance: Utterance, options: TranscriptionOptions) -> TranscriptionOptions:
    if options.language is not None or utterance.language is None:
        return options
    return replace(options, language=language_code(utterance.language))


def environment() -> dict[str, str]:
    """Versions and machine, which times depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["cpus"] = str(os.cpu_count())
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree, or the runtime does not need it
            found[package] = "not installed"
    return found
