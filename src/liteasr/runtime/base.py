"""What a runtime promises: a recording and options in, a transcript out."""

import logging
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ, AudioSource, is_silent, load_audio
from liteasr.errors import AudioError
from liteasr.runtime.context import ContextChoice, check_context
from liteasr.runtime.pooling import PoolingChoice, check_pooling
from liteasr.transcript import Transcript

__all__ = [
    "GREEDY",
    "AudioInput",
    "Transcriber",
    "TranscriptionOptions",
    "found_silent",
    "waveform_of",
]

logger = logging.getLogger(__name__)

AudioInput: TypeAlias = AudioSource | np.ndarray[Any, Any]

TASKS = ("transcribe", "translate")


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionOptions:
    """How to decode; the names and the defaults are openai/whisper's but for three.

    The three: the beam is 1, the fallback keeps no best of five, and windows do not see the
    text before them. A window that sees earlier text repeats its mistakes, which makes the
    errors of a compressed encoder spread, and ties every window to all before it.

    Attributes:
        language: A code or an English name (``"en"``, ``"english"``); None detects it from
            the first 30 seconds.
        task: ``"transcribe"``, or ``"translate"`` into English.
        beam_size: Beams at temperature 0.
        temperature: Tried in turn while a threshold below says that the decoding failed.
        compression_ratio_threshold: Text that zlib shrinks more than this repeats itself.
        logprob_threshold: Least mean log-probability per token.
        no_speech_threshold: A window is silent above this probability, where its
            log-probability is below ``logprob_threshold`` too.
        condition_on_previous_text: Give each window the text of those before it.
        initial_prompt: Text before the first window: spelling of names, style.
        timestamps: Let the model predict times. False decodes recordings of up to 30
            seconds in one piece; longer ones need times to move on and keep them.
        word_timestamps: Give the time of every word, from the cross-attention.
        max_new_tokens: Limit per window; None is all that the decoder has room for.
        seed: Of the sampling at temperatures above 0, so that results repeat.
        context: Positions that are encoded after the end of the audio, of 20 ms each: ``auto``
            (512), a number, or ``off`` for the whole window of 30 seconds. Windows whose text
            loops are encoded again with more.
        pooling: Neighbouring positions of the encoder's output that the decoder reads as one, where
            CTranslate2 decodes: ``auto`` (2) or a number; 1 shows it every position.
        version: Of these names.
    """

    language: str | None = None
    task: str = "transcribe"
    beam_size: int = 1
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = False
    initial_prompt: str | None = None
    timestamps: bool = True
    word_timestamps: bool = False
    max_new_tokens: int | None = None
    seed: int = 0
    context: ContextChoice = "auto"
    pooling: PoolingChoice = "auto"
    version: int = 1

    def __post_init__(self) -> None:
        if self.language is not None and not self.language.strip():
            raise ValueError("language must be a code, a name or None to detect it, got ''")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        object.__setattr__(self, "temperature", tuple(self.temperature))  # JSON gives lists
        if not self.temperature or any(not 0.0 <= value <= 2.0 for value in self.temperature):
            raise ValueError(f"temperature must hold values in [0, 2], got {self.temperature}")
        if any(a >= b for a, b in zip(self.temperature, self.temperature[1:], strict=False)):
            raise ValueError(f"temperature must rise from value to value, got {self.temperature}")
        for name in ("beam_size", "max_new_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if (ratio := self.compression_ratio_threshold) is not None and ratio <= 0:
            raise ValueError(f"compression_ratio_threshold must be above 0, got {ratio}")
        if (logprob := self.logprob_threshold) is not None and logprob > 0:
            raise ValueError(f"logprob_threshold must be at most 0, got {logprob}")
        if (silence := self.no_speech_threshold) is not None and not 0 <= silence <= 1:
            raise ValueError(f"no_speech_threshold must be in [0, 1], got {silence}")
        if self.word_timestamps and not self.timestamps:
            raise ValueError("word_timestamps needs timestamps: set both or neither")
        check_context(self.context)
        check_pooling(self.pooling)


# the likeliest tokens once, without a fallback: what comparisons and clocks ask for
GREEDY = TranscriptionOptions(
    temperature=(0.0,),
    compression_ratio_threshold=None,
    logprob_threshold=None,
    no_speech_threshold=None,
    timestamps=False,
)


class Transcriber(Protocol):
    """Turn recordings into text."""

    def transcribe(self, audio: AudioInput, options: TranscriptionOptions = ...) -> Transcript:
        """Transcribe one recording: a file, its bytes, or a 16 kHz waveform."""
        ...


def waveform_of(audio: AudioInput) -> Float[np.ndarray, "samples"]:
    """Give a mono float32 waveform at 16 kHz; files are decoded, arrays are checked.

    Raises:
        AudioError: The recording cannot be read, is empty, or an array is not a
            one-dimensional float waveform of finite numbers.
    """
    if not isinstance(audio, np.ndarray):
        return load_audio(audio)
    if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
        raise AudioError(
            f"a waveform must be float [samples] at 16 kHz, got {audio.dtype} {list(audio.shape)}: "
            "average the channels and scale integers to [-1, 1]"
        )
    if audio.size == 0:
        raise AudioError("the waveform is empty: 0 samples")
    if not np.isfinite(audio).all():
        raise AudioError("the waveform holds NaN or infinite samples")
    return audio.astype(np.float32, copy=False)


def found_silent(waveform: Float[np.ndarray, "samples"]) -> bool:
    """Whether there is nothing to transcribe, which is then said in the log."""
    if not is_silent(waveform):
        return False
    logger.warning(
        "the recording of %.1f s is silent: nothing to transcribe", len(waveform) / SAMPLE_RATE_HZ
    )
    return True
