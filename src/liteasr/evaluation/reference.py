"""What the dense model hears, kept so that many reduced models can be compared with it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.audio import SAMPLE_RATE_HZ, is_silent
from liteasr.corpus import Utterance
from liteasr.encoders import adapter_for, run_encoder
from liteasr.errors import CalibrationError, CorpusError
from liteasr.evaluation.normalize import language_code
from liteasr.progress import Track, silent
from liteasr.runtime import ContextChoice
from liteasr.runtime.context import fitted_positions, margin_of
from liteasr.runtime.encoding import FRAMES_PER_POSITION
from liteasr.runtime.forcing import Forcing, forcing_for
from liteasr.sources import SpeechModel

__all__ = ["DenseReference", "DenseUtterance", "dense_reference", "encode_first_window"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DenseUtterance:
    """What the dense model makes of the first window of an utterance.

    Attributes:
        utterance: The recording.
        prompt: The tokens that asked for the transcript.
        targets: The greedy transcript and the end token, which is missing where the decoder
            had no room left; the likeliest token of every frame where the head is CTC.
        states: What the output head read before each target, [targets, width].
    """

    utterance: Utterance
    prompt: tuple[int, ...]
    targets: tuple[int, ...]
    states: Float[Tensor, "targets width"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DenseReference:
    """What reduced models are compared with; `compress_` on the dense model does not change it.

    The decoder's last states are kept and the output head turns them into distributions when
    they are needed, because distributions would take a hundred times the memory.

    Attributes:
        model: Name of the dense model.
        utterances: In the order of the corpus, without silent ones.
        head: Weight of the output head, [vocab, width], shared with the model.
        bias: Its bias, where it has one.
    """

    model: str
    utterances: tuple[DenseUtterance, ...]
    head: Float[Tensor, "vocab width"]
    bias: Float[Tensor, "vocab"] | None = None


def dense_reference(
    speech: SpeechModel, corpus: Iterable[Utterance], *, track: Track = silent
) -> DenseReference:
    """Transcribe the first window of every utterance greedily, and keep how sure the model was.

    The language is the utterance's where it names one, and detected otherwise. Silent windows
    (below -80 dBFS) are left out, as in transcription.

    Args:
        speech: The model, not compressed.
        corpus: Unlabelled speech; the first window of an utterance is used.
        track: Shows progress.

    Raises:
        AudioError: A recording cannot be read.
        CalibrationError: The decoder's states are NaN or Inf.
        CorpusError: The model hears no text in the whole corpus.
        TranscriptionError: The model does not know an utterance's language.
        UnsupportedModelError: No runtime can decode the model.
    """
    utterances, forcing = list(corpus), forcing_for(speech)
    found = [
        _listen(speech, forcing, utterance)
        for utterance in track(utterances, description="Dense transcripts", total=len(utterances))
    ]
    heard = tuple(one for one in found if one is not None)
    if all(forcing.is_empty(one.targets) for one in heard):
        raise CorpusError(
            f"{speech.name} hears no text in {len(utterances)} utterances, "
            f"{len(utterances) - len(heard)} of them silent: give recordings of speech"
        )
    head, bias = forcing.head
    return DenseReference(model=speech.name, utterances=heard, head=head, bias=bias)


def encode_first_window(
    speech: SpeechModel,
    waveform: Float[np.ndarray, "samples"],
    *,
    context: ContextChoice = "off",
) -> Float[Tensor, "1 seq width"]:
    """Run the encoder on the first window of a waveform (16 kHz, mono).

    Args:
        speech: The model.
        waveform: The recording.
        context: Positions after the end of the audio, ``auto``, or ``off`` for the whole window.
    """
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    window = next(adapter.inputs(speech.processor, waveform))
    if (margin := margin_of(context)) is not None:
        frames = FRAMES_PER_POSITION * window.valid_positions
        full = adapter.positions(encoder)
        window = adapter.cropped(window, fitted_positions(frames, margin=margin, full=full))
    return run_encoder(encoder, window)


@torch.inference_mode()
def _listen(speech: SpeechModel, forcing: Forcing, utterance: Utterance) -> DenseUtterance | None:
    adapter = adapter_for(speech.model)
    waveform = utterance.load()
    if is_silent(waveform[: round(adapter.window_s(speech.processor) * SAMPLE_RATE_HZ)]):
        return None
    window = next(adapter.inputs(speech.processor, waveform))
    encoded = run_encoder(adapter.encoder(speech.model), window)
    named = language_code(utterance.language)
    prompt, targets = forcing.listen(encoded, window.duration_s, named)
    [states] = forcing.states(encoded, [(prompt, targets)])
    if not torch.isfinite(states).all():
        raise CalibrationError(f"{speech.name} gives NaN or Inf on {utterance.id}: check it")
    return DenseUtterance(utterance=utterance, prompt=prompt, targets=targets, states=states)
