"""Whisper through faster-whisper: our encoders, and CTranslate2's decoder or our greedy one."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, final

import numpy as np

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.errors import ExportError, TranscriptionError
from liteasr.runtime.base import AudioInput, TranscriptionOptions, found_silent, waveform_of
from liteasr.runtime.decoder_parts import DecoderParts, SpecialTokens
from liteasr.runtime.encoding import EncoderRuntime
from liteasr.runtime.greedy import GreedyDecoder
from liteasr.runtime.hardware import decoder_threads
from liteasr.runtime.hybrid import HybridWhisperModel, ctranslate2
from liteasr.runtime.languages import resolve_language
from liteasr.runtime.pipelining import PipelinedInference
from liteasr.runtime.streams import divided
from liteasr.threads import cpu_threads
from liteasr.transcript import Segment, Transcript, Word

__all__ = ["FasterWhisperTranscriber"]

logger = logging.getLogger(__name__)

WINDOW_S = 30


@final
class FasterWhisperTranscriber:
    """Transcribe with faster-whisper's window loop, an encoder of ours and a decoder of two.

    Ours decodes greedily, see `GreedyDecoder`; CTranslate2's does the rest: beams, retries at
    higher temperatures, times of words. The model's own decoder is not kept, both have its
    weights. Random numbers are seeded once, by the first recording's options, so a new transcriber
    repeats what an old one did.

    Args:
        parts: The decoders, see `decoder_parts`.
        encoder: What encodes.
        batch_size: Cut recordings where nobody speaks and decode so many windows at once, one
            batch ahead encoded: faster, but without retries at higher temperatures. None goes
            from window to window.
        streams: Stretches of a recording that are transcribed at the same time, each from window
            to window with all retries; recordings are cut where it is quietest, into stretches of
            a minute or more. Worth as many as there are processors idle while the decoder works.
            Retries at higher temperatures then draw in an order that differs from run to run.

    Raises:
        ValueError: The machine has no such compute type, the batch or the streams are less than
            1, or both are asked for.
    """

    def __init__(
        self,
        parts: DecoderParts,
        encoder: EncoderRuntime,
        *,
        batch_size: int | None = None,
        streams: int = 1,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if streams < 1:
            raise ValueError(f"streams must be at least 1, got {streams}")
        if batch_size is not None and streams > 1:
            raise ValueError("batch_size and streams are two ways to be faster: name one of them")
        self.parts = parts
        self.name = parts.name
        self.batch_size = batch_size
        self.streams = streams
        threads = max(1, cpu_threads() // streams)
        self._greedy = _opened(parts.greedy, parts.tokens, threads)
        self.model = HybridWhisperModel(
            parts.directory,
            encoder,
            full_positions=parts.positions,
            encoder_pooling=parts.pooling,
            max_length=parts.max_length,
            greedy=self._greedy,
            device="cpu",
            compute_type=parts.compute_type,
            cpu_threads=decoder_threads(parts.width, threads),
            num_workers=streams,
        )

    @property
    def decodes_in(self) -> str:
        """What the decoders compute in."""
        theirs: str = self.model.model.compute_type
        return theirs if self._greedy is None else f"our int8, and {theirs} where not greedy"

    def transcribe(
        self, audio: AudioInput, options: TranscriptionOptions | None = None
    ) -> Transcript:
        """Transcribe one recording: a file, its bytes, or a 16 kHz waveform.

        A recording without a sample above 1e-4 (-80 dBFS) gives an empty transcript and a
        logged warning.

        Raises:
            AudioError: The recording cannot be read.
            TranscriptionError: The model does not know the language or the task, or windows that
                are decoded together shall see the text before them.
        """
        options = options or TranscriptionOptions()
        language = resolve_language(options.language, options.task, self.parts.tokens, self.name)
        waveform = waveform_of(audio)
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        if found_silent(waveform):
            return Transcript(text="", language=language, duration_s=duration_s, model=self.name)
        if self.batch_size is not None and options.condition_on_previous_text:
            raise TranscriptionError(
                "condition_on_previous_text needs one window after the other: leave batch_size out"
            )
        ctranslate2.set_random_seed(options.seed)
        theirs = {"language": language, **self._theirs(options, duration_s)}
        segments, language = self._heard(waveform, options, theirs)
        text = "".join(segment.text for segment in segments).strip()
        return Transcript(
            text=text, language=language, duration_s=duration_s, segments=segments, model=self.name
        )

    def _heard(
        self, waveform: np.ndarray, options: TranscriptionOptions, theirs: dict[str, Any]
    ) -> tuple[tuple[Segment, ...], str]:
        """Segments of a recording and its language, in stretches where there are streams."""
        parts = list(divided(waveform, self.streams))
        stopped = Event()
        if len(parts) == 1:
            heard, language = self._hear(*parts[0], options, theirs, stopped)
            return tuple(heard), language
        if theirs["language"] is None:  # one for all of them
            window = parts[0][1][: WINDOW_S * SAMPLE_RATE_HZ]
            model = self.model.reading(context=options.context, pooling=options.pooling)
            theirs = {**theirs, "language": model.detect_language(window)[0]}
        with ThreadPoolExecutor(len(parts), thread_name_prefix="liteasr-stream") as pool:
            try:
                each = [pool.submit(self._hear, *part, options, theirs, stopped) for part in parts]
                heard = [segment for future in each for segment in future.result()[0]]
            except BaseException:
                stopped.set()
                raise
        return tuple(replace(one, id=i) for i, one in enumerate(heard)), theirs["language"]

    def _hear(
        self,
        offset_s: float,
        waveform: np.ndarray,
        options: TranscriptionOptions,
        theirs: dict[str, Any],
        stopped: Event,
    ) -> tuple[list[Segment], str]:
        """Segments of one stretch, window after window or in batches, and its language."""
        model = self.model.reading(context=options.context, pooling=options.pooling)
        if self.batch_size is None:
            found, info = model.transcribe(waveform, **theirs)
        else:
            pipeline = PipelinedInference(model)
            found, info = pipeline.transcribe(waveform, batch_size=self.batch_size, **theirs)
        heard: list[Segment] = []
        for one in found:
            if stopped.is_set():
                break
            segment = _segment(one, len(waveform) / SAMPLE_RATE_HZ, offset_s)
            if segment.end > segment.start:
                heard.append(segment)
        return heard, info.language

    def _theirs(self, options: TranscriptionOptions, duration_s: float) -> dict[str, Any]:
        """Our options under faster-whisper's names."""
        limit = options.max_new_tokens
        # the longest prompt takes half of the room and a few tokens more
        room = self.model.max_length // 2 - 4
        return {
            "task": options.task,
            "beam_size": options.beam_size,
            "best_of": 1,
            "temperature": list(options.temperature),
            "compression_ratio_threshold": options.compression_ratio_threshold,
            "log_prob_threshold": options.logprob_threshold,
            "no_speech_threshold": options.no_speech_threshold,
            "condition_on_previous_text": options.condition_on_previous_text,
            "initial_prompt": options.initial_prompt,
            "without_timestamps": not options.timestamps and duration_s <= WINDOW_S,
            "word_timestamps": options.word_timestamps,
            "max_new_tokens": None if limit is None else min(limit, room),
        }


def _opened(directory: Path | None, tokens: SpecialTokens, threads: int) -> GreedyDecoder | None:
    """Our decoder, without which CTranslate2's does all."""
    if directory is None:
        return None
    try:
        return GreedyDecoder(directory, tokens, threads=threads)
    except ExportError as error:
        logger.warning("decoder: CTranslate2's alone (compute_type int8 asks for it): %s", error)
        return None


def _segment(found: Any, duration_s: float, offset_s: float) -> Segment:
    """A segment of a stretch that begins ``offset_s`` into the recording and lasts so long."""
    return Segment(
        id=found.id - 1,
        start=round(offset_s + min(found.start, duration_s), 3),
        end=round(offset_s + min(found.end, duration_s), 3),
        text=found.text,
        tokens=tuple(found.tokens),
        avg_logprob=found.avg_logprob,
        no_speech_prob=found.no_speech_prob,
        words=tuple(_word(word, duration_s, offset_s) for word in found.words or ()),
    )


def _word(found: Any, duration_s: float, offset_s: float) -> Word:
    start = min(float(found.start), duration_s)
    return Word(
        start=round(offset_s + start, 3),
        end=round(offset_s + min(max(float(found.end), start), duration_s), 3),
        word=found.word,
        probability=float(found.probability),
    )
