"""Encoders with a CTC head: every frame names a token or stays silent."""

import math
from collections.abc import Iterator
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders import EncoderInput, adapter_for, run_encoder
from liteasr.runtime.base import AudioInput, TranscriptionOptions, found_silent, waveform_of
from liteasr.runtime.emissions import Emission, collapsed, split_at_pauses, split_at_words
from liteasr.runtime.requests import refuse_unknown_options
from liteasr.sources.base import SpeechModel
from liteasr.transcript import Segment, Transcript, Word

__all__ = ["CTCTranscriber", "ctc_head", "frame_log_probabilities"]

HEADS = ("lm_head", "ctc_head")


@final
class CTCTranscriber:
    """Transcribe with an encoder and its CTC head, dense or compressed, on the model's device.

    Long recordings are cut where they are quiet. A pause of a second ends a segment.
    """

    def __init__(self, speech_model: SpeechModel) -> None:
        self.speech_model = speech_model
        self._model = speech_model.model
        self._tokenizer = speech_model.processor.tokenizer

    def transcribe(
        self, audio: AudioInput, options: TranscriptionOptions | None = None
    ) -> Transcript:
        """Transcribe one recording: a file, its bytes, or a 16 kHz waveform.

        The likeliest token of every frame is taken. The language is that of the model's head; one
        that is named is passed on. A recording without a sample above 1e-4 (-80 dBFS) gives an
        empty transcript and a logged warning.

        Raises:
            AudioError: The recording cannot be read.
            TranscriptionError: An option asks for what CTC does not have.
        """
        options = options or TranscriptionOptions()
        name = self.speech_model.name
        refuse_unknown_options(options, name, known=("word_timestamps",))
        waveform = waveform_of(audio)
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        segments: list[Segment] = []
        if not found_silent(waveform):
            adapter, start_s = adapter_for(self._model), 0.0
            for window in adapter.inputs(self.speech_model.processor, waveform):
                for emissions in self._heard(window, start_s):
                    segments.extend(self._segment(len(segments), emissions, options))
                start_s += window.duration_s
        return Transcript(
            text="".join(segment.text for segment in segments).strip(),
            language=options.language,
            duration_s=duration_s,
            segments=tuple(segments),
            model=name,
        )

    def _heard(self, window: EncoderInput, start_s: float) -> Iterator[tuple[Emission, ...]]:
        """What a window says, between pauses."""
        encoded = run_encoder(adapter_for(self._model).encoder(self._model), window)
        scores = frame_log_probabilities(self._model, encoded)[0]
        frame_s = window.duration_s / len(scores)
        blank = int(self._tokenizer.pad_token_id)
        found = collapsed(scores, blank=blank, frame_s=frame_s, start_s=start_s)
        return split_at_pauses(found)

    def _segment(
        self, number: int, emissions: tuple[Emission, ...], options: TranscriptionOptions
    ) -> Iterator[Segment]:
        """One segment, or none where there is no text in it."""
        text = self._text(emissions)
        if not text:
            return
        words: tuple[Word, ...] = ()
        if options.word_timestamps:
            words = tuple(self._words(emissions))
        yield Segment(
            id=number,
            start=round(emissions[0].start_s, 3),
            end=round(emissions[-1].end_s, 3),
            text=f" {text}",
            tokens=tuple(emission.token for emission in emissions),
            avg_logprob=_mean_logprob(emissions),
            words=words,
        )

    def _words(self, emissions: tuple[Emission, ...]) -> Iterator[Word]:
        for group in split_at_words(emissions, self._tokenizer):
            if text := self._text(group):
                yield Word(
                    start=round(group[0].start_s, 3),
                    end=round(group[-1].end_s, 3),
                    word=f" {text}",
                    probability=math.exp(_mean_logprob(group)),
                )

    def _text(self, emissions: tuple[Emission, ...]) -> str:
        tokens = [emission.token for emission in emissions]
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, group_tokens=False)
        return text.strip()


def ctc_head(model: Any) -> Any:
    """The layer that scores tokens, whatever the family calls it."""
    children = dict(model.named_children())
    return next(children[name] for name in HEADS if name in children)


@torch.inference_mode()
def frame_log_probabilities(
    model: Any, encoded: Float[Tensor, "1 seq width"]
) -> Float[Tensor, "1 seq vocab"]:
    """Log softmax of the head's scores, in float32."""
    scores: Tensor = ctc_head(model)(encoded)
    return scores.float().log_softmax(dim=-1)


def _mean_logprob(emissions: tuple[Emission, ...]) -> float:
    return sum(emission.logprob for emission in emissions) / len(emissions)
