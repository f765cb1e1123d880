"""What a model wrote, kept: scores can be made again without transcribing again."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from liteasr.atomic import write_text
from liteasr.errors import CorpusError
from liteasr.evaluation.error_rate import align_utterance
from liteasr.evaluation.normalize import Rules
from liteasr.evaluation.report import ScoredUtterance

__all__ = ["hypothesis_line", "parse_hypotheses", "read_hypotheses", "rescore", "write_hypotheses"]


def write_hypotheses(utterances: Iterable[ScoredUtterance], path: str | os.PathLike[str]) -> None:
    """Write one JSON line for each utterance: texts, counts and times.

    Raises:
        StorageError: The disk refused.
    """
    write_text(path, "".join(hypothesis_line(one) for one in utterances))


def hypothesis_line(one: ScoredUtterance) -> str:
    """Give an utterance as a line of such a file."""
    return json.dumps(one.to_dict(), ensure_ascii=False) + "\n"


def read_hypotheses(path: str | os.PathLike[str]) -> tuple[ScoredUtterance, ...]:
    """Read what `write_hypotheses` wrote.

    Raises:
        CorpusError: The file cannot be read, or a line is not one of an utterance.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"cannot read hypotheses from {path}: {error}") from error
    return parse_hypotheses(text, path)


def parse_hypotheses(text: str, path: str | os.PathLike[str]) -> tuple[ScoredUtterance, ...]:
    """Read the content of such a file; ``path`` is for messages.

    Raises:
        CorpusError: A line is not one of an utterance.
    """
    found = []
    # not splitlines: texts may hold the line separators of Unicode
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(ScoredUtterance.from_dict(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorpusError(
                f"{path}, line {number} is not a scored utterance: {error}"
            ) from error
    return tuple(found)


def rescore(
    utterances: Iterable[ScoredUtterance], rules: Rules = "whisper"
) -> tuple[ScoredUtterance, ...]:
    """Normalize and count again, as after a change of the normalizer."""
    return tuple(_rescored(one, rules) for one in utterances)


def _rescored(one: ScoredUtterance, rules: Rules) -> ScoredUtterance:
    found = align_utterance(one.reference, one.hypothesis, one.language, rules)
    return replace(one, counts=found.counts, longest_insertion=found.longest_insertion)
