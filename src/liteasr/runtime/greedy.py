"""Greedy decoding by ONNX Runtime, for callers of ``ctranslate2.models.Whisper.generate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from liteasr._optional import require
from liteasr.export.kept import MEMORY, STEP
from liteasr.export.session import open_session
from liteasr.runtime.decoder_parts import SpecialTokens
from liteasr.runtime.token_rules import TokenRules, log_sum_exp

__all__ = ["Generated", "GreedyDecoder"]

PLAIN = {
    "sampling_topk": 1,
    "num_hypotheses": 1,
    "repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
    "return_logits_vocab": False,
    "asynchronous": False,
}
CROWDED = 0.5  # of a batch: with fewer left than that, the others' memory is given back


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """What callers read of a ``ctranslate2.models.WhisperGenerationResult``.

    Attributes:
        sequences_ids: One sequence of tokens, without the prompt and the end.
        scores: Its log-probability, the end's included, by its length to the length penalty.
        no_speech_prob: Probability of ``<|nospeech|>`` after ``<|startoftranscript|>``.
    """

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float


@final
class GreedyDecoder:
    """Decodes as CTranslate2 does with a beam of 1 and no sampling, from fewer bytes per token.

    Args:
        directory: What `liteasr.export.greedy.write_greedy_decoder` wrote.
        tokens: The model's special and suppressed tokens.
        threads: Threads that share a product.

    Raises:
        ExportError: A file is missing or damaged.
    """

    def __init__(self, directory: Path, tokens: SpecialTokens, *, threads: int) -> None:
        self._ort = require("onnxruntime", extra="onnx")
        self._memory = open_session(directory / MEMORY, threads=threads)
        self._step = open_session(directory / STEP, threads=threads)
        self._read = [value.name for value in self._memory.get_outputs()]
        inputs = {value.name: value.shape for value in self._step.get_inputs()}
        self._own = [name for name in inputs if ".decoder." in name]
        self._made = [value.name for value in self._step.get_outputs()]
        _, self._heads, _, self._width = inputs[self._own[0]]
        self._start = tokens.decoder_start_token_id
        self._end = tokens.eos_token_id
        self._no_timestamps = tokens.no_timestamps_token_id
        self._suppressed = list(tokens.suppress_tokens)
        self._suppressed_first = tokens.begin_suppress_tokens

    def takes(self, prompts: Sequence[Any], options: Mapping[str, Any]) -> bool:
        """Whether it can do what is asked: greedily, after prompts that end before the text."""
        greedy = options.get("beam_size") == 1  # CTranslate2's own default is 5
        plain = all(options.get(name, value) == value for name, value in PLAIN.items())
        shapes = {self._shape(prompt) for prompt in prompts}
        return greedy and plain and len(shapes) == 1 and None not in shapes

    def generate(
        self,
        states: Float32[np.ndarray, "batch positions width"],
        prompts: Sequence[Sequence[int]],
        *,
        max_length: int = 448,
        length_penalty: float = 1.0,
        suppress_blank: bool = True,
        suppress_tokens: Sequence[int] | None = (-1,),
        max_initial_timestamp_index: int = 50,
        **_: Any,
    ) -> list[Generated]:
        """Decode a batch, with options of ``ctranslate2.models.Whisper.generate``.

        Args:
            states: The encoder's output.
            prompts: Tokens to begin with, as many for every window.
            max_length: Most tokens, the prompt included; half of them may be new.
            length_penalty: Power of the length that scores are divided by.
            suppress_blank: Whether the text may not begin with a blank or the end.
            suppress_tokens: What is never said; -1 stands for the model's own list.
            max_initial_timestamp_index: Latest first timestamp, in steps of 20 ms.
        """
        tokens = np.array(prompts, np.int64)
        suppressed = [token for token in suppress_tokens or () if token >= 0]
        rules = TokenRules(
            end=self._end,
            no_timestamps=self._no_timestamps,
            suppressed=suppressed + (self._suppressed if -1 in (suppress_tokens or ()) else []),
            suppressed_first=self._suppressed_first if suppress_blank else (),
            timestamps=tokens[0, -1] != self._no_timestamps,
            latest_first=max_initial_timestamp_index,
        )
        start = int(np.argmax(tokens[0] == self._start)) + 1
        cache = self._begin(states)
        logits = self._logits(tokens[:, :start], cache)
        # <|nospeech|> is the token before <|notimestamps|>
        silence = [np.exp(row[self._no_timestamps - 1] - log_sum_exp(row)) for row in logits]
        if start < tokens.shape[1]:
            logits = self._logits(tokens[:, start:], cache)
        # CTranslate2 counts the prompt without its last token
        room = min(max_length // 2, max_length - (tokens.shape[1] - 1))
        said, sums = self._continue(logits, cache, rules, room)
        return [
            Generated(
                sequences_ids=[text],
                scores=[total / max(1, len(text)) ** length_penalty],
                no_speech_prob=float(quiet),
            )
            for text, total, quiet in zip(said, sums, silence, strict=True)
        ]

    def _continue(
        self, logits: np.ndarray, cache: dict[str, Any], rules: TokenRules, room: int
    ) -> tuple[list[list[int]], list[float]]:
        """The best token after the best token, until all have said the end or have no room."""
        said: list[list[int]] = [[] for _ in logits]
        sums = [0.0 for _ in logits]
        rows = list(range(len(logits)))  # of the batch, those whose memory is still read
        speaking = set(rows)
        for step in range(room):
            following = np.full((len(rows), 1), self._end, np.int64)
            for place, row in enumerate(rows):
                if row not in speaking:
                    continue
                rules.apply_(logits[place], said[row])
                token = int(logits[place].argmax())
                sums[row] += float(logits[place, token]) - log_sum_exp(logits[place])
                if token == self._end:
                    speaking.discard(row)
                else:
                    said[row].append(token)
                    following[place] = token
            if not speaking or step + 1 == room:
                break
            if len(speaking) <= CROWDED * len(rows):
                kept = [place for place, row in enumerate(rows) if row in speaking]
                rows = [rows[place] for place in kept]
                following = following[kept]
                for name, value in cache.items():
                    cache[name] = self._value(value.numpy()[kept])
            logits = self._logits(following, cache)
        return said, sums

    def _begin(self, states: np.ndarray) -> dict[str, Any]:
        """The keys and values that are there before any token."""
        given = {"encoder_hidden_states": self._value(states)}
        made = self._memory.run_with_ort_values(self._read, given)
        empty = self._value(np.zeros((len(states), self._heads, 0, self._width), np.float32))
        return dict.fromkeys(self._own, empty) | dict(zip(self._read, made, strict=True))

    def _logits(self, tokens: np.ndarray, cache: dict[str, Any]) -> Float32[np.ndarray, "batch v"]:
        """After the last of some more tokens, whose keys and values are added."""
        given = {"input_ids": self._value(tokens), **cache}
        logits, *present = self._step.run_with_ort_values(self._made, given)
        cache.update(zip(self._own, present, strict=True))
        return np.array(logits.numpy())

    def _value(self, array: np.ndarray) -> Any:
        return self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

    def _shape(self, prompt: Sequence[Any]) -> tuple[int, int] | None:
        """Where a prompt starts and ends; None for one that says text already."""
        tokens = list(prompt)
        if self._start not in tokens:
            return None
        task = tokens[tokens.index(self._start) :]
        if not all(self._start <= token <= self._no_timestamps for token in task):
            return None
        return len(tokens), len(task)
