"""Moments with their provenance: the artefact that is slow to make and worth keeping."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from liteasr.errors import CalibrationError
from liteasr.lowrank import Gradients, Halves, Moments
from liteasr.record import known_fields
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors

__all__ = ["Calibration", "FrameChoice", "Provenance", "Seen", "sums"]

FrameChoice = Literal["balanced", "all", "speech"]

FORMAT = "liteasr-moments"
VERSION = 1
READ = "read:"  # before the names of layers whose gradients were counted


Counted = TypeVar("Counted", Moments, Gradients)


def sums(counted: dict[str, Counted], more: dict[str, Counted]) -> dict[str, Counted]:
    """Both together; what was counted is not changed."""
    added = {key: counted[key] + part if key in counted else part for key, part in more.items()}
    return {**counted, **added}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where moments came from.

    Attributes:
        model: Name of the model.
        encoder_sha256: Fingerprint of the encoder's weights.
        corpus: Where the audio came from.
        corpus_sha256: Fingerprint of the audio.
        frames: ``speech`` counts positions that hold audio, ``all`` counts padding too,
            ``balanced`` one position of padding in four.
        utterances: Utterances counted so far.
        corpus_utterances: Utterances in the corpus; calibration is complete at that number.
        duration_s: Audio counted so far, in seconds.
        audio_positions: Encoder positions counted so far that hold audio and not padding.
        versions: Versions of the packages that computed the activations.
        heard: Whether the decoder was listened to for the gradients.
    """

    model: str
    encoder_sha256: str
    corpus: str
    corpus_sha256: str
    frames: FrameChoice
    utterances: int
    corpus_utterances: int
    duration_s: float
    audio_positions: int
    versions: dict[str, str] = field(default_factory=dict)
    heard: bool = False

    @property
    def task(self) -> str:
        """What was counted, how and through which encoder; the same for the same task."""
        return f"{self.frames} frames of {self.corpus_sha256} in {self.encoder_sha256}"

    def same_task(self, other: Provenance) -> bool:
        """Whether both count the same audio in the same way through the same encoder."""
        return self.task == other.task

    def same_method(self, other: Provenance) -> bool:
        """Whether both count audio in the same way through the same encoder."""
        return (self.encoder_sha256, self.frames) == (other.encoder_sha256, other.frames)


@dataclass(kw_only=True, slots=True)
class Seen:
    """What one utterance adds to a calibration: see there, and `Provenance`."""

    moments: dict[str, Moments] = field(default_factory=dict)
    hidden: dict[str, Moments] = field(default_factory=dict)
    readings: dict[str, Gradients] = field(default_factory=dict)
    duration_s: float = 0.0
    audio_positions: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Moments by place of observation, and where they came from.

    Attributes:
        moments: Moments by the key of their `Observation`.
        provenance: Where they came from.
        counted: Digest of every utterance counted so far, so that a corpus which changed in
            other places can still be resumed.
        hidden: Moments of the hidden vectors of MLPs by the key of their `Observation`, from
            every other utterance and from those between, since a fit of so many weights must be
            judged on audio that it has not seen. Empty where they were not asked for.
        readings: Gradients of random readings of the output by name of the layer, see
            `Metric.of`. Empty where they were not asked for.
    """

    moments: dict[str, Moments]
    provenance: Provenance
    counted: tuple[str, ...] = ()
    hidden: dict[str, Halves] = field(default_factory=dict)
    readings: dict[str, Gradients] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every utterance of the corpus has been counted."""
        return self.provenance.utterances == self.provenance.corpus_utterances

    @property
    def frames(self) -> int:
        """Encoder positions counted."""
        return max((moments.count for moments in self.moments.values()), default=0)

    def plus(self, digest: str, seen: Seen) -> Calibration:
        """Moments with one more utterance counted, which has this digest."""
        half = self.provenance.utterances % 2
        halves = {key: _with(self.hidden.get(key), part, half) for key, part in seen.hidden.items()}
        grown = replace(
            self.provenance,
            utterances=self.provenance.utterances + 1,
            duration_s=self.provenance.duration_s + seen.duration_s,
            audio_positions=self.provenance.audio_positions + seen.audio_positions,
        )
        counted = (*self.counted, digest)
        return Calibration(
            moments=sums(self.moments, seen.moments),
            provenance=grown,
            counted=counted,
            hidden=halves,
            readings=sums(self.readings, seen.readings),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``moments.safetensors``, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        halves = {
            f"{key}.{half}": moments
            for key, both in self.hidden.items()
            for half, moments in enumerate(both)
        }
        tensors = {f"{READ}{name}": found.products for name, found in self.readings.items()}
        for key, moments in {**self.moments, **halves}.items():
            tensors[f"{key}.total"] = moments.total
            tensors[f"{key}.products"] = moments.products
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "provenance": json.dumps(asdict(self.provenance)),
            "counts": json.dumps({key: m.count for key, m in self.moments.items()}),
            "counted": json.dumps(self.counted),
            "hidden": json.dumps({key: [m.count for m in h] for key, h in self.hidden.items()}),
            "readings": json.dumps({name: g.count for name, g in self.readings.items()}),
        }
        write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what `save` wrote.

        Raises:
            CalibrationError: There is no such file, it is not a moments file, or it is damaged.
            IntegrityError: The file is truncated.
        """
        if not Path(path).is_file():
            raise CalibrationError(f"no moments at {path}: make them with `liteasr calibrate`")
        metadata = read_metadata(path)
        form, version = metadata.get("format"), metadata.get("version", "")
        if form != FORMAT or not version.isdecimal() or int(version) > VERSION:
            raise CalibrationError(
                f"{path} is not a moments file of version {VERSION} or older: "
                f"format {form!r}, version {version!r}"
            )
        try:
            header = _Header(**known_fields(_Header, _values(metadata)))
            provenance = Provenance(**known_fields(Provenance, header.provenance))
            tensors = read_tensors(path)
            moments = {key: _moments(key, n, tensors) for key, n in header.counts.items()}
            hidden = {key: _halves(key, n, tensors) for key, n in header.hidden.items()}
            readings = {
                name: _gradients(f"{READ}{name}", n, tensors) for name, n in header.readings.items()
            }
        except ValueError as error:
            raise CalibrationError(
                f"{path} is damaged: {error}; delete it and run `liteasr calibrate` again"
            ) from error
        return cls(
            moments=moments,
            provenance=provenance,
            counted=tuple(header.counted),
            hidden=hidden,
            readings=readings,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """The metadata of a moments file."""

    provenance: dict[str, Any]
    counts: dict[str, int]
    counted: list[str] = field(default_factory=list)
    hidden: dict[str, list[int]] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)


def _with(halves: Halves | None, part: Moments, half: int) -> Halves:
    """One more utterance in one of the halves; the other one is not copied."""
    first, second = halves or (Moments.empty(part.dim, device=part.total.device),) * 2
    return (first + part, second) if half == 0 else (first, second + part)


def _values(metadata: Mapping[str, str]) -> dict[str, Any]:
    names = [item.name for item in fields(_Header)]
    try:
        return {name: json.loads(metadata[name]) for name in names if name in metadata}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata are not JSON ({error})") from error


def _halves(key: str, counts: list[int], tensors: Mapping[str, Tensor]) -> Halves:
    if len(counts) != 2:
        raise ValueError(f"{key} has {len(counts)} halves")
    first, second = (_moments(f"{key}.{h}", n, tensors) for h, n in enumerate(counts))
    return first, second


def _moments(key: str, count: int, tensors: Mapping[str, Tensor]) -> Moments:
    total, products = tensors.get(f"{key}.total"), tensors.get(f"{key}.products")
    if total is None or products is None or products.shape != (*total.shape, *total.shape):
        raise ValueError(f"the moments at {key} are missing or have a wrong shape")
    return Moments(count, total, products)


def _gradients(key: str, count: int, tensors: Mapping[str, Tensor]) -> Gradients:
    products = tensors.get(key)
    if products is None or products.ndim not in (1, 2) or len(products) != products.shape[-1]:
        raise ValueError(f"the gradients at {key} are missing or have a wrong shape")
    return Gradients(count, products)
