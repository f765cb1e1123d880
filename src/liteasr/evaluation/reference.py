"""What the dense model hears, kept so that many reduced models can be compared with it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.audio import is_silent
from liteasr.corpus import Utterance
from liteasr.encoders import adapter_for, run_encoder
from liteasr.errors import CalibrationError, CorpusError
from liteasr.evaluation.normalize import language_code
from liteasr.progress import Track, silent
from liteasr.runtime import ContextChoice, TranscriptionOptions
from liteasr.runtime.context import fitted_positions, margin_of
from liteasr.runtime.decoding import Prompt, decode_window, decoder_states
from liteasr.runtime.encoding import FRAMES_PER_POSITION
from liteasr.runtime.languages import detect_language, resolve_language, task_tokens
from liteasr.sources import SpeechModel

__all__ = ["DenseReference", "DenseUtterance", "dense_reference", "encode_first_window"]

GREEDY = TranscriptionOptions(
    temperature=(0.0,),
    compression_ratio_threshold=None,
    logprob_threshold=None,
    no_speech_threshold=None,
    timestamps=False,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DenseUtterance:
    """What the dense model makes of the first window of an utterance.

    Attributes:
        utterance: The recording.
        prompt: The tokens that asked for the transcript.
        targets: The greedy transcript and the end token, which is missing where the decoder
            had no room left.
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
    """

    model: str
    utterances: tuple[DenseUtterance, ...]
    head: Float[Tensor, "vocab width"]


def dense_reference(
    speech: SpeechModel, corpus: Iterable[Utterance], *, track: Track = silent
) -> DenseReference:
    """Transcribe the first window of every utterance greedily, and keep how sure the model was.

    The language is the utterance's where it names one, and detected otherwise. Silent windows
    (below -80 dBFS) are left out, as in transcription.

    Args:
        speech: The model, not compressed.
        corpus: Unlabelled speech; the first 30 s of an utterance are used.
        track: Shows progress.

    Raises:
        AudioError: A recording cannot be read.
        CalibrationError: The decoder's states are NaN or Inf.
        CorpusError: The model hears no text in the whole corpus.
        TranscriptionError: The model does not know an utterance's language.
    """
    utterances = list(corpus)
    found = [
        _listen(speech, utterance)
        for utterance in track(utterances, description="Dense transcripts", total=len(utterances))
    ]
    heard = tuple(one for one in found if one is not None)
    if all(len(one.targets) == 1 for one in heard):  # the end token alone
        raise CorpusError(
            f"{speech.name} hears no text in {len(utterances)} utterances, "
            f"{len(utterances) - len(heard)} of them silent: give recordings of speech"
        )
    head = speech.model.get_output_embeddings().weight.detach()
    return DenseReference(model=speech.name, utterances=heard, head=head)


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


def _listen(speech: SpeechModel, utterance: Utterance) -> DenseUtterance | None:
    model, config = speech.model, speech.model.generation_config
    named = language_code(utterance.language)
    language = resolve_language(named, "transcribe", config, speech.name)
    waveform = utterance.load()
    if is_silent(waveform[: speech.processor.feature_extractor.n_samples]):
        return None
    encoded = encode_first_window(speech, waveform)
    language = language or detect_language(model, encoded)
    task = task_tokens(config, language, "transcribe", timestamps=False)
    prompt = Prompt(task=task, timestamps=False)
    decoded = decode_window(model, speech.processor.tokenizer, encoded, prompt, GREEDY)
    room = model.config.max_target_positions - len(task)
    targets = (*decoded.tokens, config.eos_token_id)[:room]
    states = decoder_states(model, encoded, task, targets)
    if not torch.isfinite(states).all():
        raise CalibrationError(f"{speech.name} gives NaN or Inf on {utterance.id}: check it")
    return DenseUtterance(utterance=utterance, prompt=task, targets=targets, states=states)
