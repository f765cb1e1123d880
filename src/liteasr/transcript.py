"""What a recognizer heard: words, segments, the whole transcript, and its file formats.

The names and the formats are those of openai/whisper, so files can be exchanged.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["FORMATS", "Segment", "Transcript", "Word", "write"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One word and when it was said.

    Attributes:
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording.
        word: The text with its leading space, so that joined words give the segment's text.
        probability: Mean probability of the word's tokens, in [0, 1].
    """

    start: float
    end: float
    word: str
    probability: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` gave; unknown keys are dropped."""
        return cls(**_known(values, cls.__slots__))


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A stretch of speech, about a sentence.

    Attributes:
        id: Position in the transcript, from 0.
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording.
        text: The text as decoded, usually with a leading space.
        tokens: Token ids, timestamp tokens included; empty where the runtime has none.
        avg_logprob: Mean log-probability per token of the window; None where unknown.
        no_speech_prob: Probability that the window holds no speech; None where not computed.
        words: Word times, where they were asked for.
    """

    id: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    words: tuple[Word, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` gave; unknown keys are dropped."""
        known = _known(values, cls.__slots__)
        known["tokens"] = tuple(known.get("tokens") or ())
        known["words"] = tuple(Word.from_dict(word) for word in known.get("words") or ())
        return cls(**known)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """The text of one recording.

    Attributes:
        text: The whole text without surrounding spaces.
        language: Code of the language spoken, such as ``en``; None where nothing was heard.
        duration_s: Length of the recording in seconds.
        segments: In order of time.
        model: Name of the model that wrote it.
    """

    text: str
    language: str | None
    duration_s: float
    segments: tuple[Segment, ...] = ()
    model: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` gave; unknown keys are dropped."""
        known = _known(values, cls.__slots__)
        known["segments"] = tuple(Segment.from_dict(part) for part in known.get("segments") or ())
        return cls(**known)


def write(transcript: Transcript, format: str) -> str:
    """Give the content of a transcript file.

    Args:
        transcript: What to write.
        format: One of ``FORMATS``: json, srt, tsv, txt or vtt.

    Raises:
        ValueError: The format is not known.

    Source: the writers of openai/whisper (``whisper/utils.py``).
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(sorted(FORMATS))}, got {format!r}")
    return FORMATS[format](transcript)


def _txt(transcript: Transcript) -> str:
    return "".join(f"{segment.text.strip()}\n" for segment in transcript.segments)


def _json(transcript: Transcript) -> str:
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=2) + "\n"


def _srt(transcript: Transcript) -> str:
    return "".join(
        f"{number}\n{start} --> {end}\n{text}\n\n"
        for number, (start, end, text) in enumerate(_cues(transcript, hours=True, mark=","), 1)
    )


def _vtt(transcript: Transcript) -> str:
    cues = _cues(transcript, hours=False, mark=".")
    return "WEBVTT\n\n" + "".join(f"{start} --> {end}\n{text}\n\n" for start, end, text in cues)


def _tsv(transcript: Transcript) -> str:
    rows = (
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t"
        f"{segment.text.strip().replace(chr(9), ' ')}\n"
        for segment in transcript.segments
    )
    return "start\tend\ttext\n" + "".join(rows)


def _cues(transcript: Transcript, *, hours: bool, mark: str) -> Iterator[tuple[str, str, str]]:
    for segment in transcript.segments:
        # an arrow inside the text would start a new cue
        text = segment.text.strip().replace("-->", "->")
        yield _clock(segment.start, hours, mark), _clock(segment.end, hours, mark), text


def _clock(seconds: float, hours: bool, mark: str) -> str:
    """Write ``[hh:]mm:ss.mmm``; the hours appear when asked for or not zero."""
    rest, milliseconds = divmod(round(seconds * 1000), 1000)
    rest, second = divmod(rest, 60)
    hour, minute = divmod(rest, 60)
    head = f"{hour:02d}:" if hours or hour else ""
    return f"{head}{minute:02d}:{second:02d}{mark}{milliseconds:03d}"


def _known(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "json": _json,
    "srt": _srt,
    "tsv": _tsv,
    "txt": _txt,
    "vtt": _vtt,
}
