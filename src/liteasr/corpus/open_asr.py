"""The test sets of the Open ASR Leaderboard by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from liteasr.corpus.huggingface import read_dataset
from liteasr.corpus.utterance import Utterance
from liteasr.errors import CorpusError

__all__ = ["OPEN_ASR", "OpenASRSet", "read_open_asr"]

REPOSITORY = "hf-audio/esb-datasets-test-only-sorted"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenASRSet:
    """Where a test set is.

    Attributes:
        config: Configuration in the repository.
        split: Split of that configuration.
        text: Column of the reference text.
        repository: Hub id, or a local directory with the same configurations.
    """

    config: str
    split: str = "test"
    text: str = "text"
    repository: str = REPOSITORY

    @property
    def ref(self) -> str:
        """The set as ``ID:CONFIG@SPLIT``."""
        return f"{self.repository}:{self.config}@{self.split}"


OPEN_ASR: Mapping[str, OpenASRSet] = {
    "ami": OpenASRSet(config="ami"),
    "earnings22": OpenASRSet(config="earnings22"),
    "gigaspeech": OpenASRSet(config="gigaspeech"),
    "librispeech-clean": OpenASRSet(config="librispeech", split="test.clean"),
    "librispeech-other": OpenASRSet(config="librispeech", split="test.other"),
    "spgispeech": OpenASRSet(config="spgispeech"),
    "tedlium": OpenASRSet(config="tedlium"),
    "voxpopuli": OpenASRSet(config="voxpopuli"),
}


def read_open_asr(name: str) -> tuple[Utterance, ...]:
    """Read one of the sets; all are English.

    Raises:
        CorpusError: No set has this name, or it cannot be opened.
        MissingDependencyError: The package ``datasets`` is not installed.

    Source: the scripts of huggingface/open_asr_leaderboard, and its hub repository.
    """
    if name not in OPEN_ASR:
        raise CorpusError(f"open-asr:{name} is none of {', '.join(OPEN_ASR)}")
    found = OPEN_ASR[name]
    utterances = read_dataset(found.ref, text_column=found.text)
    return tuple(replace(one, language="en") for one in utterances)
