"""One recording of a corpus, and the corpus itself."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ, load_audio
from liteasr.errors import AudioError, CorpusError

__all__ = ["Corpus", "Utterance", "fingerprint_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """A recording, or a slice of one, and what is known about it.

    Attributes:
        id: Unique in its corpus; a path relative to the corpus where there is one.
        audio: A path, the bytes of an audio file, or a function that reads them when needed.
        text: What is said; None for unlabelled audio.
        language: Code such as ``en``.
        duration_s: Length in seconds; with ``offset_s`` the length of the slice.
        offset_s: Where the slice starts in the recording, in seconds.
        speaker: Who speaks.
    """

    id: str
    audio: Path | bytes | Callable[[], bytes]
    text: str | None = None
    language: str | None = None
    duration_s: float | None = None
    offset_s: float | None = None
    speaker: str | None = None

    def load(self) -> Float[np.ndarray, "samples"]:
        """Decode to a mono float32 waveform at 16 kHz.

        Raises:
            AudioError: The recording cannot be read, or the slice lies past its end.
        """
        waveform = load_audio(self.audio() if callable(self.audio) else self.audio)
        if self.offset_s is None:
            return waveform
        start = round(self.offset_s * SAMPLE_RATE_HZ)
        length = None if self.duration_s is None else round(self.duration_s * SAMPLE_RATE_HZ)
        cut = waveform[start : None if length is None else start + length]
        if len(cut) == 0:
            raise AudioError(
                f"{self.id}: offset {self.offset_s} s lies past the end of a recording of "
                f"{len(waveform) / SAMPLE_RATE_HZ:.2f} s"
            )
        return cut

    def digest(self) -> str:
        """SHA-256 over the audio bytes and the slice, not over where the file lies."""
        if isinstance(self.audio, Path):
            try:
                with self.audio.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256")
            except OSError as error:
                raise AudioError(f"cannot read {self.audio}: {error.strerror}") from error
        else:
            content = hashlib.sha256(self.audio() if callable(self.audio) else self.audio)
        length_s = None if self.offset_s is None else self.duration_s
        content.update(f"{self.offset_s} {length_s}".encode())
        return content.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Utterances in a fixed order, and where they came from."""

    utterances: tuple[Utterance, ...]
    origin: str

    def __post_init__(self) -> None:
        if not self.utterances:
            raise CorpusError(f"{self.origin} holds no audio: check the path and the file endings")

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]

    def sample(self, count: int, *, seed: int = 0) -> Corpus:
        """Draw utterances without replacement.

        The draw depends on the ids and the seed alone, not on the order of the corpus.

        Raises:
            ValueError: ``count`` is below 1.
        """
        if count < 1:
            raise ValueError(f"a sample holds at least 1 utterance, got {count}")
        if count > len(self):
            log.warning("%s has %d utterances, fewer than %d", self.origin, len(self), count)
        drawn = self._shuffled(seed)[:count]
        return replace(self, utterances=drawn, origin=f"{self.origin} (sample of {len(drawn)})")

    def split(self, count: int, *, seed: int = 0) -> tuple[Corpus, Corpus]:
        """Divide into ``count`` utterances and all others, disjoint.

        Raises:
            ValueError: One of the parts would be empty.
        """
        if not 1 <= count < len(self):
            raise ValueError(f"a split of {len(self)} takes 1 to {len(self) - 1}, got {count}")
        shuffled = self._shuffled(seed)
        return (
            replace(self, utterances=shuffled[:count], origin=f"{self.origin} (first part)"),
            replace(self, utterances=shuffled[count:], origin=f"{self.origin} (second part)"),
        )

    def digests(self) -> tuple[str, ...]:
        """SHA-256 of every utterance's audio, in order; the same wherever the files lie."""
        return tuple(utterance.digest() for utterance in self.utterances)

    def fingerprint(self) -> str:
        """SHA-256 over the audio in order; the same wherever the files lie."""
        return fingerprint_of(self.digests())

    def _shuffled(self, seed: int) -> tuple[Utterance, ...]:
        ordered = sorted(self.utterances, key=lambda utterance: utterance.id)
        order = np.random.default_rng(seed).permutation(len(ordered))
        return tuple(ordered[index] for index in order)


def fingerprint_of(digests: Iterable[str]) -> str:
    """The fingerprint of a corpus whose utterances have these digests."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def identifier(path: Path, root: Path) -> str:
    """A path relative to its corpus where it lies inside, as an id."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return Path(os.path.abspath(path)).as_posix()
