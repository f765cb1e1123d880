"""Windows of audio to refine with: joined, cut and varied anew at every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from threading import Lock

import numpy as np
from jaxtyping import Float

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.corpus import Corpus, mix_noise
from liteasr.encoders import EncoderAdapter, EncoderInput
from liteasr.refinement.pieces import Piece, Said, join_said
from liteasr.runtime.forcing import Forcing
from liteasr.sources import SpeechModel

__all__ = ["TrainingWindow", "TrainingWindows", "held_out_windows"]

Waveform = Float[np.ndarray, "samples"]

PAUSE_S = (0.1, 0.8)
SPEED = (0.85, 1.15)
BANDS_HZ = (60, 125, 250, 500, 1000, 2000, 4000, 8000)
BAND_DB = 4.0  # standard deviation: other rooms, microphones and voices
MISHEARD_SHARE = 0.15  # of the tokens that a decoder is given
GAIN_DB = (-10.0, 6.0)
SNR_DB = (5.0, 30.0)
SHORT = (0.1, 0.5)  # of a full window
FULL_SHARE = 0.3  # of windows filled to the end; the others end in padding, as real ones do
LEAST_SHARE = 0.07  # of a window with audio in it
NOISY_SHARE = 0.1
LANGUAGE_POWER = 0.5  # of its number of pieces: rare languages are drawn more often than they occur
CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingWindow:
    """What the encoder reads, and what the decoder is held to, if anything."""

    input: EncoderInput
    said: Said | None


class TrainingWindows:
    """Draws windows; the same seed, step and place give the same window, from any thread.

    A window joins random pieces of recordings of one language with pauses between them, so that
    short clips do not leave the encoder training on silence. Variations come from the user's own
    audio: speed, gain, timbre, white noise, and another recording behind the speech. Some tokens
    that the decoder is given are those of other texts: what it says next then hangs on the audio,
    and the same few texts are not learned by heart.

    Args:
        corpus: Unlabelled audio.
        pieces: What to draw from it.
        original: The model; its processor makes the windows.
        adapter: Of the original model.
        positions: Of the encoder in a full window.
        forcing: The original model's decoder; None where it is held to nothing.
        seed: Chooses everything.
        short_share: Share of the steps whose windows are cropped, all of a step to one length.
        augment: Whether to vary speed, gain and noise.
    """

    def __init__(
        self,
        corpus: Corpus,
        pieces: Iterable[Piece],
        original: SpeechModel,
        adapter: EncoderAdapter,
        *,
        positions: int,
        forcing: Forcing | None,
        seed: int,
        short_share: float,
        augment: bool,
    ) -> None:
        self.corpus = corpus
        self.adapter = adapter
        self.processor = original.processor
        self.samples = round(adapter.window_s(self.processor) * SAMPLE_RATE_HZ)
        self.positions = positions
        self.forcing = forcing
        self.seed = seed
        self.short_share = short_share
        self.augment = augment
        self._pools = _by_language(corpus, pieces)
        self._tokens = [
            np.array([token for piece in pool if piece.said for token in piece.said.targets])
            for pool in self._pools
        ]
        sizes = np.array([len(pool) for pool in self._pools]) ** LANGUAGE_POWER
        self._shares = sizes / sizes.sum()
        self._recent: OrderedDict[int, Waveform] = OrderedDict()
        self._lock = Lock()  # of what is recent

    def __len__(self) -> int:
        """Pieces that may be drawn."""
        return sum(len(pool) for pool in self._pools)

    def draw(self, step: int, place: int) -> TrainingWindow:
        """The window at a place of a step's batch.

        Raises:
            AudioError: A recording cannot be read.
        """
        rng = np.random.default_rng([self.seed, step, place])
        length = self._length(step)
        full = rng.random() < FULL_SHARE
        # single clips are short: as many windows hold 2 to 5 s as 5 to 12 s
        share = 1.0 if full else np.exp(rng.uniform(np.log(LEAST_SHARE), 0.0))
        which = int(rng.choice(len(self._pools), p=self._shares))
        pool = self._pools[which]
        waveform, said = _joined(
            lambda: self._stretch(pool, rng),
            round(share * length * self.samples),
            rng,
            self.forcing,
        )
        if self.augment:
            waveform = _equalized(waveform, rng)
            if rng.random() < NOISY_SHARE:
                waveform = self._noisy(waveform, pool, rng)
            if said is not None:
                said = _misheard(said, self._tokens[which], rng)
        window = next(iter(self.adapter.inputs(self.processor, waveform)))
        cropped = self.adapter.cropped(window, round(length * self.positions))
        return TrainingWindow(input=cropped, said=said)

    def as_they_are(self, most: int) -> Iterator[tuple[TrainingWindow, str | None]]:
        """Windows of single pieces, as long and loud as they are, and their languages if known.

        All, or so many by chance.

        Raises:
            AudioError: A recording cannot be read.
        """
        pieces = [piece for pool in self._pools for piece in pool]
        order = np.random.default_rng(self.seed).permutation(len(pieces))
        for index in order[:most]:
            piece = pieces[index]
            waveform = piece.of(self._load(piece.utterance))
            window = next(iter(self.adapter.inputs(self.processor, waveform)))
            language = self.corpus[piece.utterance].language
            yield TrainingWindow(input=window, said=piece.said), language

    def _length(self, step: int) -> float:
        """Length of a step's windows, as a share of a full one."""
        rng = np.random.default_rng([self.seed, step])
        return rng.uniform(*SHORT) if rng.random() < self.short_share else 1.0

    def _stretch(
        self, pool: Sequence[Piece], rng: np.random.Generator
    ) -> tuple[Waveform, Said | None]:
        """A random piece, at a random speed and gain."""
        piece = pool[int(rng.integers(len(pool)))]
        waveform = piece.of(self._load(piece.utterance))
        if not self.augment:
            return waveform, piece.said
        faster = rng.uniform(*SPEED)
        times = np.arange(0, len(waveform) - 1, faster)
        gain = 10 ** (rng.uniform(*GAIN_DB) / 20)
        varied: Waveform = gain * np.interp(times, np.arange(len(waveform)), waveform)
        return varied.astype(np.float32), piece.said

    def _load(self, index: int) -> Waveform:
        """A recording, from memory where it was read lately."""
        with self._lock:
            if index in self._recent:
                self._recent.move_to_end(index)
                return self._recent[index]
        loaded = self.corpus[index].load()
        with self._lock:
            self._recent[index] = loaded
            while len(self._recent) > 1 and self._recent_bytes() > CACHE_BYTES:
                self._recent.popitem(last=False)
        return loaded

    def _recent_bytes(self) -> int:
        return sum(waveform.nbytes for waveform in self._recent.values())

    def _noisy(
        self, waveform: Waveform, pool: Sequence[Piece], rng: np.random.Generator
    ) -> Waveform:
        if rng.random() < 0.5:
            noise = rng.standard_normal(len(waveform)).astype(np.float32)
        else:
            noise, _ = self._stretch(pool, rng)
        if not (np.any(waveform) and np.any(noise)):
            return waveform
        return mix_noise(waveform, noise, rng.uniform(*SNR_DB), rng=rng)


def _equalized(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Every octave louder or softer by some decibels, with straight lines between them."""
    size = 1 << len(waveform).bit_length()  # other sizes may take many times as long
    octaves = np.log2(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ).clip(1.0))
    gains_db = rng.normal(scale=BAND_DB, size=len(BANDS_HZ))
    gains = 10 ** (np.interp(octaves, np.log2(BANDS_HZ), gains_db) / 20)
    equalized: Waveform = np.fft.irfft(np.fft.rfft(waveform, size) * gains)[: len(waveform)]
    return equalized.astype(np.float32)


def _misheard(said: Said, tokens: np.ndarray, rng: np.random.Generator) -> Said:
    """Some tokens in the place of others; the divergence reads what follows, not the tokens."""
    wrong = rng.random(len(said.targets)) < MISHEARD_SHARE
    other = rng.choice(tokens, size=len(wrong))
    return Said(said.prompt, tuple(np.where(wrong, other, said.targets).tolist()))


def held_out_windows(
    corpus: Corpus,
    pieces: Iterable[Piece],
    original: SpeechModel,
    adapter: EncoderAdapter,
    *,
    forcing: Forcing | None,
    seed: int,
    most: int = 24,
) -> list[TrainingWindow]:
    """Windows to check with: pieces as they are, in turn alone and joined to a full window."""
    rng = np.random.default_rng(seed)
    samples = round(adapter.window_s(original.processor) * SAMPLE_RATE_HZ)
    found: list[tuple[Waveform, Said | None]] = []
    for pool in _by_language(corpus, pieces):
        rest: Iterator[tuple[Waveform, Said | None]] = (
            (piece.of(corpus[piece.utterance].load()), piece.said) for piece in pool
        )
        for first in rest:
            parts = chain([first], rest if len(found) % 2 else ())
            found.append(_joined(partial(next, parts, None), samples, rng, forcing))
    kept = [found[index] for index in sorted(rng.permutation(len(found))[:most])]
    return [
        TrainingWindow(input=next(iter(adapter.inputs(original.processor, waveform))), said=said)
        for waveform, said in kept
    ]


def _by_language(corpus: Corpus, pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Pieces that may be joined, in a fixed order; silent ones go where others say something.

    The prompt tells the language where the original had to hear it.
    """
    known = list(pieces)
    spoken = [piece for piece in known if piece.said is not None] or known
    pools: dict[tuple[str, tuple[int, ...]], list[Piece]] = {}
    for piece in spoken:
        prompt = piece.said.prompt if piece.said else ()
        pools.setdefault((corpus[piece.utterance].language or "", prompt), []).append(piece)
    return [pools[key] for key in sorted(pools)]


def _joined(
    following: Callable[[], tuple[Waveform, Said | None] | None],
    samples: int,
    rng: np.random.Generator,
    forcing: Forcing | None,
) -> tuple[Waveform, Said | None]:
    """Pieces with pauses between them, until there is enough or no more, and what they say.

    Of a piece that is cut off at the end about as much of the text is taken; no end token then.
    """
    parts: list[Waveform] = []
    texts: list[Said] = []
    length, whole, known = 0, True, True
    while length < samples and (part := following()) is not None and len(part[0]):
        waveform, said = part
        pause = np.zeros(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE_HZ), dtype=np.float32)
        heard = min(1.0, (samples - length) / len(waveform))
        whole = heard == 1.0
        known = known and said is not None
        if said is not None:
            texts.append(Said(said.prompt, said.targets[: int(heard * len(said.targets))]))
        parts += [waveform, pause]
        length += len(waveform) + len(pause)
    joined = np.concatenate(parts[:-1])[:samples]  # no pause after the last one
    if forcing is None or not known:
        return joined, None
    return joined, join_said(texts, forcing, ended=whole)
