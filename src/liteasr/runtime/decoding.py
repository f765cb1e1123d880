"""One window of 30 seconds: encoded once, decoded at rising temperatures until it is sound."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.runtime.base import TranscriptionOptions
from liteasr.runtime.context import compression_ratio

__all__ = [
    "Decoded",
    "Prompt",
    "at_targets",
    "decode_window",
    "decoder_states",
    "detect_language",
    "no_speech_probability",
    "text_of",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """The tokens a decoding starts from: ``<|startofprev|>`` text, then language and task.

    Attributes:
        previous: The earlier text with its start token, or nothing.
        task: From ``<|startoftranscript|>`` on.
        timestamps: Whether times are decoded.
    """

    previous: tuple[int, ...] = ()
    task: tuple[int, ...]
    timestamps: bool

    @property
    def tokens(self) -> tuple[int, ...]:
        """Everything in order."""
        return (*self.previous, *self.task)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """What one window says.

    Attributes:
        tokens: Without the prompt and the end token.
        probabilities: Of each token, at temperature 1.
        avg_logprob: Mean over the tokens and the end token.
        temperature: The one that was accepted.
        no_speech_prob: None where it was not needed.
        is_silent: Whether the thresholds say that nobody speaks.
    """

    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]
    avg_logprob: float
    temperature: float
    no_speech_prob: float | None = None
    is_silent: bool = False


def decode_window(
    model: Any,
    tokenizer: Any,
    encoded: Float[Tensor, "1 seq width"],
    prompt: Prompt,
    options: TranscriptionOptions,
) -> Decoded:
    """Decode, and decode again hotter while the text repeats itself or is too unlikely.

    The encoder's output is given, so retries and the silence test cost no encoder time.

    Source: ``decode_with_fallback`` of openai/whisper.
    """
    silence: float | None = None
    for temperature in options.temperature:
        decoded = _decode_once(model, encoded, prompt, options, temperature)
        unlikely = (
            options.logprob_threshold is not None
            and decoded.avg_logprob < options.logprob_threshold
        )
        if options.no_speech_threshold is not None and (
            unlikely or options.logprob_threshold is None
        ):
            if silence is None:
                silence = no_speech_probability(model, encoded)
            if silence > options.no_speech_threshold:
                return replace(decoded, no_speech_prob=silence, is_silent=True)
        limit = options.compression_ratio_threshold
        text = text_of(tokenizer, decoded.tokens)
        if not unlikely and (limit is None or compression_ratio(text) <= limit):
            break
    return replace(decoded, no_speech_prob=silence)


def text_of(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Decode text tokens; times and other special tokens, all above the end token, are left out."""
    plain = [token for token in tokens if token < tokenizer.eos_token_id]
    text: str = tokenizer.decode(plain, clean_up_tokenization_spaces=False)
    return text


@torch.inference_mode()
def no_speech_probability(model: Any, encoded: Float[Tensor, "1 seq width"]) -> float:
    """Give the probability of ``<|nospeech|>`` straight after the start token."""
    config = model.generation_config
    logits = first_logits(model, encoded).float().softmax(dim=-1)
    # the token before <|notimestamps|> in every Whisper vocabulary
    return float(logits[config.no_timestamps_token_id - 1])


@torch.inference_mode()
def first_logits(model: Any, encoded: Float[Tensor, "1 seq width"]) -> Float[Tensor, "vocab"]:
    """Give the logits after ``<|startoftranscript|>``: languages and silence are there."""
    start = torch.tensor([[model.generation_config.decoder_start_token_id]], device=encoded.device)
    out = model(encoder_outputs=(encoded,), decoder_input_ids=start, use_cache=False)
    logits: Tensor = out.logits[0, -1]
    return logits


def detect_language(model: Any, encoded: Float[Tensor, "1 seq width"]) -> str:
    """Give the code of the likeliest language of a window, by a multilingual model."""
    logits = first_logits(model, encoded)
    tokens = model.generation_config.lang_to_id
    return str(max(tokens, key=lambda token: float(logits[tokens[token]]))).strip("<|>")


def decoder_states(
    model: Any,
    encoded: Float[Tensor, "batch seq width"],
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> list[Float[Tensor, "targets width"]]:
    """Give what the output head reads before each target, the targets before it being given.

    Args:
        model: The recognizer.
        encoded: What its decoder attends to.
        texts: Prompt and targets of each window.
    """
    given = [(*prompt, *targets[:-1]) for prompt, targets in texts]
    longest = max(map(len, given))
    # what comes later is not seen: any token fills up the shorter ones
    ids = torch.tensor([(*ids, *ids[-1:] * (longest - len(ids))) for ids in given])
    out = model.get_decoder()(
        input_ids=ids.to(encoded.device), encoder_hidden_states=encoded, use_cache=False
    )
    return at_targets(out.last_hidden_state, texts)


def at_targets(
    states: Float[Tensor, "batch tokens width"],
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> list[Float[Tensor, "targets width"]]:
    """What a decoder has for the prompts and targets, where it says each target."""
    return [
        row[len(prompt) - 1 :][: len(targets)]
        for row, (prompt, targets) in zip(states, texts, strict=True)
    ]


@torch.inference_mode()
def _decode_once(
    model: Any,
    encoded: Float[Tensor, "1 seq width"],
    prompt: Prompt,
    options: TranscriptionOptions,
    temperature: float,
) -> Decoded:
    from transformers import GenerationMixin
    from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
    from transformers.modeling_outputs import BaseModelOutput

    config = _generation_config(model, prompt, options, temperature)
    length = len(prompt.tokens)
    rules = [WhisperTimeStampLogitsProcessor(config, begin_index=length)]
    # Whisper's own generate would run the encoder at every temperature and for the silence test
    out = GenerationMixin.generate(
        model,
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        decoder_input_ids=torch.tensor([prompt.tokens], device=encoded.device),
        generation_config=config,
        logits_processor=rules if prompt.timestamps else [],
    )
    tokens = out.sequences[0, length:]
    ended = (tokens == config.eos_token_id).nonzero()
    kept = int(ended[0]) if len(ended) else len(tokens)
    tokens = tokens[: kept + 1]
    logprobs = _logprobs(out, tokens, temperature).tolist()
    return Decoded(
        tokens=tuple(tokens[:kept].tolist()),
        probabilities=tuple(math.exp(value) for value in logprobs[:kept]),
        avg_logprob=sum(logprobs) / max(len(logprobs), 1),
        temperature=temperature,
    )


def _generation_config(
    model: Any, prompt: Prompt, options: TranscriptionOptions, temperature: float
) -> Any:
    config = copy.deepcopy(model.generation_config)
    length = len(prompt.tokens)
    room = model.config.max_target_positions - length
    config.max_length = length + min(options.max_new_tokens or room, room)
    config.max_new_tokens = None
    config.do_sample = temperature > 0
    config.num_beams = 1 if config.do_sample else options.beam_size
    config.temperature = temperature if config.do_sample else None
    config.top_k = 0 if config.do_sample else None  # transformers would keep the best 50
    config.return_dict_in_generate = True
    config.output_scores = True
    return config


def _logprobs(out: Any, tokens: Tensor, temperature: float) -> Float[Tensor, "tokens"]:
    """Give each token's log-probability, with the temperature taken back out."""
    beams: Sequence[int] = [0] * len(tokens)
    if out.get("beam_indices") is not None:
        beams = out.beam_indices[0, : len(tokens)].tolist()
    steps = zip(out.scores, beams, tokens, strict=False)
    scale = temperature or 1.0
    chosen = [(step[beam].float() * scale).log_softmax(-1)[token] for step, beam, token in steps]
    return torch.stack(chosen)
