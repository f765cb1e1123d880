"""Moonshine through transformers: recordings of any length, stretch by stretch."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders import EncoderInput, adapter_for, run_encoder
from liteasr.runtime.base import AudioInput, TranscriptionOptions, found_silent, waveform_of
from liteasr.runtime.requests import refuse_unknown_options
from liteasr.sources.base import SpeechModel
from liteasr.transcript import Segment, Transcript

__all__ = ["MoonshineTranscriber", "decode_stretch"]

TOKENS_PER_SECOND = 6.5  # more than anyone says; what exceeds it is a loop
LEAST_TOKENS = 16


@final
class MoonshineTranscriber:
    """Transcribe with a Moonshine of transformers, dense or compressed, on the model's device.

    It has no timestamps: every stretch of at most 30 s, cut where it is quiet, is a segment. Every
    stretch is encoded once and decoded greedily, or with a beam.
    """

    def __init__(self, speech_model: SpeechModel) -> None:
        self.speech_model = speech_model
        self._model = speech_model.model
        self._tokenizer = speech_model.processor.tokenizer

    def transcribe(
        self, audio: AudioInput, options: TranscriptionOptions | None = None
    ) -> Transcript:
        """Transcribe one recording: a file, its bytes, or a 16 kHz waveform.

        A recording without a sample above 1e-4 (-80 dBFS) gives an empty transcript and a logged
        warning.

        Raises:
            AudioError: The recording cannot be read.
            TranscriptionError: An option asks for what Moonshine does not have.
        """
        options = options or TranscriptionOptions()
        name = self.speech_model.name
        refuse_unknown_options(options, name, known=("beam_size", "max_new_tokens"))
        waveform = waveform_of(audio)
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        segments: list[Segment] = []
        if not found_silent(waveform):
            start_s = 0.0
            for window in adapter_for(self._model).inputs(self.speech_model.processor, waveform):
                segment = self._segment(len(segments), window, start_s, options)
                if segment.text.strip():
                    segments.append(segment)
                start_s += window.duration_s
        return Transcript(
            text="".join(segment.text for segment in segments).strip(),
            language=options.language,
            duration_s=duration_s,
            segments=tuple(segments),
            model=name,
        )

    def _segment(
        self, number: int, window: EncoderInput, start_s: float, options: TranscriptionOptions
    ) -> Segment:
        encoded = run_encoder(adapter_for(self._model).encoder(self._model), window)
        tokens = decode_stretch(self._model, encoded, window.duration_s, options)
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Segment(
            id=number,
            start=round(start_s, 3),
            end=round(start_s + window.duration_s, 3),
            text=f" {text.strip()}",
            tokens=tokens,
        )


@torch.inference_mode()
def decode_stretch(
    model: object,
    encoded: Float[Tensor, "1 seq width"],
    duration_s: float,
    options: TranscriptionOptions,
) -> tuple[int, ...]:
    """The tokens of one stretch, without the first and the end token."""
    from transformers import GenerationMixin
    from transformers.models.moonshine.modeling_moonshine import MoonshineEncoderModelOutput

    config = model.generation_config  # type: ignore[attr-defined]
    room = model.config.max_position_embeddings - 1  # type: ignore[attr-defined]
    limit = options.max_new_tokens or max(LEAST_TOKENS, math.ceil(TOKENS_PER_SECOND * duration_s))
    out: Tensor = GenerationMixin.generate(
        model,
        encoder_outputs=MoonshineEncoderModelOutput(last_hidden_state=encoded),
        decoder_input_ids=torch.tensor([[config.decoder_start_token_id]], device=encoded.device),
        num_beams=options.beam_size,
        do_sample=False,
        max_length=None,
        max_new_tokens=min(limit, room),
    )
    tokens: list[int] = out[0, 1:].tolist()
    ended = tokens.index(config.eos_token_id) if config.eos_token_id in tokens else len(tokens)
    return tuple(tokens[:ended])
