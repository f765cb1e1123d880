"""One way to name a corpus, whatever it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from liteasr.corpus.folder import AUDIO_SUFFIXES, read_folder, read_path_list, read_recording
from liteasr.corpus.huggingface import read_dataset
from liteasr.corpus.manifest import read_manifest
from liteasr.corpus.open_asr import read_open_asr
from liteasr.corpus.utterance import Corpus, Utterance
from liteasr.errors import CorpusError

__all__ = ["load_corpus"]

Ref = str | os.PathLike[str]


def load_corpus(ref: Ref | Sequence[Ref], *, samples: int | None = None, seed: int = 0) -> Corpus:
    """Open a corpus, or a sample of it.

    Args:
        ref: A folder of audio (or with a ``manifest.jsonl``), a JSONL manifest, a text file of
            paths, one recording, ``hf:ID[:CONFIG][@SPLIT]`` for a Hugging Face dataset,
            ``open-asr:NAME`` for a test set of the Open ASR Leaderboard, or several of these,
            which are joined in order.
        samples: Use that many utterances, chosen by ``seed``; None uses all.
        seed: Chooses the sample.

    Raises:
        ValueError: ``samples`` is below 1.
        CorpusError: It is missing, empty or wrong; a manifest's line number is named.
        MissingDependencyError: A dataset needs a package that is not installed.
    """
    whole = _whole(ref)
    return whole if samples is None else whole.sample(samples, seed=seed)


def _whole(ref: Ref | Sequence[Ref]) -> Corpus:
    if isinstance(ref, str | os.PathLike):
        return Corpus(utterances=_utterances(ref), origin=str(ref))
    parts = [_whole(part) for part in ref]
    return Corpus(
        utterances=_joined(parts),
        origin=" + ".join(part.origin for part in parts) or "an empty list",
    )


def _joined(parts: list[Corpus]) -> tuple[Utterance, ...]:
    """Join corpora; an id that several of them use gets its corpus' name in front."""
    users = Counter(name for part in parts for name in {utterance.id for utterance in part})
    return tuple(
        utterance
        if users[utterance.id] == 1
        else replace(utterance, id=f"{part.origin}/{utterance.id}")
        for part in parts
        for utterance in part
    )


def _utterances(ref: Ref) -> tuple[Utterance, ...]:
    if isinstance(ref, str) and ref.startswith("hf:"):
        return read_dataset(ref.removeprefix("hf:"))
    if isinstance(ref, str) and ref.startswith("open-asr:"):
        return read_open_asr(ref.removeprefix("open-asr:"))
    path = Path(ref)
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise CorpusError(f"{path} does not exist: name a folder, a manifest or a recording")
    if path.suffix in (".jsonl", ".json"):
        return read_manifest(path)
    if path.suffix == ".txt":
        return read_path_list(path)
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return (read_recording(path, path.parent),)
    raise CorpusError(
        f"{path} is neither a folder, a .jsonl manifest, a .txt list of paths nor audio "
        f"({' '.join(sorted(AUDIO_SUFFIXES))})"
    )
