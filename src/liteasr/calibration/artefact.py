"""Moments with their provenance: the artefact that is slow to make and worth keeping."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from liteasr.errors import CalibrationError
from liteasr.lowrank import Moments
from liteasr.tensor_file import read_metadata, read_tensors, write_tensors

__all__ = ["Calibration", "FrameChoice", "Provenance"]

FrameChoice = Literal["all", "speech"]

FORMAT = "liteasr-moments"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where moments came from.

    Attributes:
        model: Name of the model.
        encoder_sha256: Fingerprint of the encoder's weights.
        corpus: Where the audio came from.
        corpus_sha256: Fingerprint of the audio.
        frames: ``speech`` counts positions that hold audio, ``all`` counts padding too.
        utterances: Utterances counted so far.
        corpus_utterances: Utterances in the corpus; calibration is complete at that number.
        duration_s: Audio counted so far, in seconds.
        audio_positions: Encoder positions counted so far that hold audio and not padding.
        versions: Versions of the packages that computed the activations.
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

    def same_task(self, other: Provenance) -> bool:
        """Whether both count the same audio through the same encoder."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("encoder_sha256", "corpus_sha256", "frames", "corpus_utterances")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Moments by place of observation, and where they came from."""

    moments: dict[str, Moments]
    provenance: Provenance

    @property
    def complete(self) -> bool:
        """Whether every utterance of the corpus has been counted."""
        return self.provenance.utterances == self.provenance.corpus_utterances

    @property
    def frames(self) -> int:
        """Encoder positions counted."""
        return max((moments.count for moments in self.moments.values()), default=0)

    def plus(
        self, moments: dict[str, Moments], *, duration_s: float, audio_positions: int
    ) -> Calibration:
        """Moments with one more utterance counted."""
        merged = {
            key: self.moments[key] + part if key in self.moments else part
            for key, part in moments.items()
        }
        grown = replace(
            self.provenance,
            utterances=self.provenance.utterances + 1,
            duration_s=self.provenance.duration_s + duration_s,
            audio_positions=self.provenance.audio_positions + audio_positions,
        )
        return Calibration(moments=merged, provenance=grown)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``moments.safetensors``, whole or not at all.

        Raises:
            StorageError: The disk refused.
        """
        tensors = {}
        for key, moments in self.moments.items():
            tensors[f"{key}.total"] = moments.total
            tensors[f"{key}.products"] = moments.products
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "provenance": json.dumps(asdict(self.provenance)),
            "counts": json.dumps({key: m.count for key, m in self.moments.items()}),
        }
        write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what `save` wrote.

        Raises:
            CalibrationError: There is no such file, or it is not a moments file.
            IntegrityError: The file is truncated.
        """
        if not Path(path).is_file():
            raise CalibrationError(f"no moments at {path}: make them with `liteasr calibrate`")
        metadata = read_metadata(path)
        if metadata.get("format") != FORMAT or int(metadata["version"]) > VERSION:
            raise CalibrationError(
                f"{path} is not a moments file of version {VERSION} or older: "
                f"format {metadata.get('format')!r}, version {metadata.get('version')!r}"
            )
        known = {item.name for item in fields(Provenance)}
        stored = json.loads(metadata["provenance"])
        provenance = Provenance(**{key: stored[key] for key in stored if key in known})
        tensors = read_tensors(path)
        moments = {
            key: Moments(count, tensors[f"{key}.total"], tensors[f"{key}.products"])
            for key, count in json.loads(metadata["counts"]).items()
        }
        return cls(moments=moments, provenance=provenance)
