"""Whisper through transformers: recordings of any length, window by window."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.errors import TranscriptionError
from liteasr.runtime.base import AudioInput, TranscriptionOptions, found_silent, waveform_of
from liteasr.runtime.context import fitted_positions, is_loop, longer_context, margin_of
from liteasr.runtime.decoding import Decoded, Prompt, decode_window, detect_language, text_of
from liteasr.runtime.encoding import FRAMES_PER_POSITION
from liteasr.runtime.languages import resolve_language, task_tokens
from liteasr.runtime.window_encoder import WindowEncoder
from liteasr.runtime.windows import FRAMES_PER_SECOND, Span, split_at_timestamps
from liteasr.runtime.words import token_times, words_of
from liteasr.sources.base import SpeechModel
from liteasr.transcript import Segment, Transcript, Word

__all__ = ["TransformersTranscriber"]

logger = logging.getLogger(__name__)


@final
class TransformersTranscriber:
    """Transcribe with a Whisper of transformers, dense or compressed, on the model's device.

    The windows advance as in openai/whisper: each starts where the last complete segment
    ended. Every window is encoded once, whatever the fallback does.

    Args:
        speech_model: The model.
        record: Encode full windows from a CUDA graph, on a GPU; see `WindowEncoder`.
    """

    def __init__(self, speech_model: SpeechModel, *, record: bool = True) -> None:
        self.speech_model = speech_model
        self._window_encoder = WindowEncoder(speech_model, record=record)
        self._model = speech_model.model
        self._tokenizer = speech_model.processor.tokenizer
        self._full = self._model.config.max_source_positions
        # 3000 for every Whisper: two mel frames per encoder position
        self._window_frames = FRAMES_PER_POSITION * self._full

    def transcribe(
        self, audio: AudioInput, options: TranscriptionOptions | None = None
    ) -> Transcript:
        """Transcribe one recording: a file, its bytes, or a 16 kHz waveform.

        A recording without a sample above 1e-4 (-80 dBFS) gives an empty transcript and a
        logged warning.

        Raises:
            AudioError: The recording cannot be read.
            TranscriptionError: The model does not know the language or the task, the prompt
                holds special tokens, or positions shall be pooled.
        """
        options = options or TranscriptionOptions()
        name = self.speech_model.name
        if options.pooling not in ("auto", 1):
            raise TranscriptionError(
                f"transformers reads every position, pooling={options.pooling} is the runtime "
                "faster-whisper's: leave it out"
            )
        language = resolve_language(
            options.language, options.task, self._model.generation_config, name
        )
        waveform = waveform_of(audio)
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        if found_silent(waveform):
            return Transcript(text="", language=language, duration_s=duration_s, model=name)
        device = torch.device(self._model.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(options.seed)
            features = self._features(waveform)
            frames = round(duration_s * FRAMES_PER_SECOND)
            first = self._encode(features, 0, self._fitted(frames, options))
            if language is None:
                language = detect_language(self._model, first)
            segments = tuple(self._segments(features, first, duration_s, language, options))
        text = "".join(segment.text for segment in segments).strip()
        return Transcript(
            text=text, language=language, duration_s=duration_s, segments=segments, model=name
        )

    def _features(self, waveform: Float[np.ndarray, "samples"]) -> Float[Tensor, "1 n_mels frames"]:
        """Compute log-Mel features, with a window of silence after the end as in training."""
        frames_pad = self._window_frames * SAMPLE_RATE_HZ // FRAMES_PER_SECOND
        features: Tensor = self.speech_model.processor.feature_extractor(
            np.pad(waveform, (0, frames_pad)),
            sampling_rate=SAMPLE_RATE_HZ,
            padding="longest",
            truncation=False,
            return_tensors="pt",
        ).input_features
        return features.to(self._model.device, self._model.dtype)

    def _encode(
        self, features: Float[Tensor, "1 n_mels frames"], start: int, positions: int
    ) -> Float[Tensor, "1 seq width"]:
        window = features[:, :, start : start + positions * FRAMES_PER_POSITION]
        return self._window_encoder(window)

    def _fitted(self, frames: int, options: TranscriptionOptions) -> int:
        """Positions to encode for a window that starts with so many frames of audio."""
        return fitted_positions(
            min(frames, self._window_frames), margin=margin_of(options.context), full=self._full
        )

    def _segments(
        self,
        features: Float[Tensor, "1 n_mels frames"],
        encoded: Float[Tensor, "1 seq width"],
        duration_s: float,
        language: str,
        options: TranscriptionOptions,
    ) -> Iterator[Segment]:
        total = max(1, round(duration_s * FRAMES_PER_SECOND))
        # only times tell where a window broke off, so long recordings need them
        timestamps = options.timestamps or total > self._window_frames
        config = self._model.generation_config
        task = task_tokens(config, language, options.task, timestamps=timestamps)
        history = self._initial_prompt(options)
        start = count = 0
        while start < total:
            frames = min(self._window_frames, total - start)
            if start > 0:
                encoded = self._encode(features, start, self._fitted(frames, options))
            prompt = Prompt(previous=self._previous(history), task=task, timestamps=timestamps)
            encoded, decoded = self._decode(features, start, encoded, prompt, options)
            if decoded.is_silent:
                start += frames
                continue
            spans, advance = self._split(decoded, frames)
            times = self._token_times(encoded, prompt, decoded, frames, options)
            offset_s = start / FRAMES_PER_SECOND
            for span in spans:
                made = self._segment(count, span, decoded, offset_s, duration_s, times, language)
                if made is not None:
                    yield made
                    count += 1
            start += advance
            # a hot decoding would lead the next one astray
            keeps = options.condition_on_previous_text and decoded.temperature <= 0.5
            said = [token for span in spans for token in span.tokens]
            history = history + said if keeps else []

    def _decode(
        self,
        features: Float[Tensor, "1 n_mels frames"],
        start: int,
        encoded: Float[Tensor, "1 seq width"],
        prompt: Prompt,
        options: TranscriptionOptions,
    ) -> tuple[Float[Tensor, "1 seq width"], Decoded]:
        """Decode a window, with longer contexts while it fails; only the full one is heated."""
        cool = replace(options, temperature=options.temperature[:1])
        while (positions := encoded.shape[1]) < self._full:
            decoded = decode_window(self._model, self._tokenizer, encoded, prompt, cool)
            if decoded.is_silent or self._is_sound(decoded, prompt, options):
                return encoded, decoded
            positions = longer_context(positions, full=self._full)
            logger.info("the decoding failed: encoding again with %d positions", positions)
            encoded = self._encode(features, start, positions)
        return encoded, decode_window(self._model, self._tokenizer, encoded, prompt, options)

    def _is_sound(self, decoded: Decoded, prompt: Prompt, options: TranscriptionOptions) -> bool:
        limit = options.logprob_threshold
        if limit is not None and decoded.avg_logprob < limit:
            return False
        own = options.max_new_tokens is None
        room = self._model.config.max_target_positions - len(prompt.tokens) if own else None
        text = text_of(self._tokenizer, decoded.tokens)
        return not is_loop(text, tokens=len(decoded.tokens), room=room)

    def _split(self, decoded: Decoded, frames: int) -> tuple[list[Span], int]:
        begin = self._model.generation_config.no_timestamps_token_id + 1
        return split_at_timestamps(decoded.tokens, timestamp_begin=begin, frames=frames)

    def _segment(
        self,
        number: int,
        span: Span,
        decoded: Decoded,
        offset_s: float,
        duration_s: float,
        times: list[float],
        language: str,
    ) -> Segment | None:
        text = text_of(self._tokenizer, span.tokens)
        start = min(offset_s + span.start_frame / FRAMES_PER_SECOND, duration_s)
        end = min(offset_s + span.end_frame / FRAMES_PER_SECOND, duration_s)
        if not text.strip() or end <= start:
            return None
        last = span.first + len(span.tokens)
        words: tuple[Word, ...] = ()
        if times:
            words = words_of(
                self._tokenizer, span.tokens, times[span.first : last + 1],
                decoded.probabilities[span.first : last],
                language=language, offset_s=offset_s, end_s=duration_s,
            )  # fmt: skip
        return Segment(
            id=number, start=round(start, 3), end=round(end, 3), text=text, tokens=span.tokens,
            avg_logprob=decoded.avg_logprob, no_speech_prob=decoded.no_speech_prob, words=words,
        )  # fmt: skip

    def _token_times(
        self, encoded: Tensor, prompt: Prompt, decoded: Decoded, frames: int,
        options: TranscriptionOptions,
    ) -> list[float]:  # fmt: skip
        if not options.word_timestamps or not decoded.tokens:
            return []
        return token_times(
            self._model, encoded, prompt.task, decoded.tokens,
            frames=frames, name=self.speech_model.name,
        )  # fmt: skip

    def _initial_prompt(self, options: TranscriptionOptions) -> list[int]:
        if not options.initial_prompt:
            return []
        text = " " + options.initial_prompt.strip()
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        if special := set(tokens) & set(self._tokenizer.all_special_ids):
            token = self._tokenizer.convert_ids_to_tokens(min(special))
            raise TranscriptionError(f"initial_prompt holds the special token {token}: remove it")
        return tokens

    def _previous(self, history: list[int]) -> tuple[int, ...]:
        """Keep the end of the earlier text: half of the decoder's room, as in training."""
        if not history:
            return ()
        room = self._model.config.max_target_positions // 2 - 1
        start = self._model.generation_config.prev_sot_token_id
        return (start, *history[-room:])
