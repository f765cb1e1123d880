"""What a model says of one window, and what its head reads while it is made to say that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.runtime.base import GREEDY
from liteasr.runtime.ctc import ctc_head
from liteasr.runtime.decoding import Prompt, decode_window, decoder_states, detect_language
from liteasr.runtime.families import Family, family_of
from liteasr.runtime.languages import resolve_language, task_tokens
from liteasr.runtime.moonshine import decode_stretch
from liteasr.sources.base import SpeechModel

__all__ = ["Forcing", "Text", "forcing_for"]

Text: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # the prompt, and the targets after it


class Forcing(ABC):
    """One way of decoding, taken apart: greedy tokens, and the states that they are chosen from.

    Args:
        speech: The model.
    """

    reads_tokens = True  # whether the states depend on the tokens before

    def __init__(self, speech: SpeechModel) -> None:
        self.speech = speech
        self.model = speech.model

    @abstractmethod
    def listen(
        self, encoded: Float[Tensor, "1 seq width"], duration_s: float, language: str | None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The prompt, and the greedy tokens after it with the end token where there is room.

        Raises:
            TranscriptionError: The model does not know the language.
        """

    @abstractmethod
    def states(
        self, encoded: Float[Tensor, "batch seq width"], texts: Sequence[Text]
    ) -> list[Float[Tensor, "targets width"]]:
        """What the head reads before each target of each text, those before it being given."""

    @abstractmethod
    def is_empty(self, targets: tuple[int, ...]) -> bool:
        """Whether no text was heard."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """Most tokens that the decoder takes at once, the prompt among them."""

    @property
    def cross_attentions(self) -> list[nn.Module]:
        """Modules that read the encoder's output for a token, in order; none without a decoder."""
        return []

    @property
    def end_token(self) -> int | None:
        """The token after the last one of a text, where texts have an end."""
        end: int | None = self.model.generation_config.eos_token_id if self.reads_tokens else None
        return end

    @property
    def head(self) -> tuple[Float[Tensor, "vocab width"], Float[Tensor, "vocab"] | None]:
        """The matrix that scores tokens, and its bias."""
        output = self.model.get_output_embeddings()
        return output.weight.detach(), output.bias


class DecoderForcing(Forcing):
    """A decoder that reads its own tokens."""

    def states(
        self, encoded: Float[Tensor, "batch seq width"], texts: Sequence[Text]
    ) -> list[Float[Tensor, "targets width"]]:
        """See `Forcing.states`."""
        return decoder_states(self.model, encoded, texts)

    @property
    def cross_attentions(self) -> list[nn.Module]:
        """See `Forcing.cross_attentions`."""
        return [layer.encoder_attn for layer in self.model.get_decoder().layers]

    def is_empty(self, targets: tuple[int, ...]) -> bool:
        """The end token alone."""
        return len(targets) == 1


@final
class WhisperForcing(DecoderForcing):
    """Language and task first, then text without times."""

    def listen(
        self, encoded: Float[Tensor, "1 seq width"], duration_s: float, language: str | None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """See `Forcing.listen`."""
        config = self.model.generation_config
        spoken = resolve_language(language, "transcribe", config, self.speech.name)
        spoken = spoken or detect_language(self.model, encoded)
        task = task_tokens(config, spoken, "transcribe", timestamps=False)
        prompt = Prompt(task=task, timestamps=False)
        tokenizer = self.speech.processor.tokenizer
        decoded = decode_window(self.model, tokenizer, encoded, prompt, GREEDY)
        return task, (*decoded.tokens, config.eos_token_id)[: self.longest - len(task)]

    @property
    def longest(self) -> int:
        """See `Forcing.longest`."""
        return int(self.model.config.max_target_positions)


@final
class MoonshineForcing(DecoderForcing):
    """Text behind one start token."""

    def listen(
        self, encoded: Float[Tensor, "1 seq width"], duration_s: float, language: str | None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """See `Forcing.listen`."""
        config = self.model.generation_config
        tokens = decode_stretch(self.model, encoded, duration_s, GREEDY)
        prompt = (config.decoder_start_token_id,)
        return prompt, (*tokens, config.eos_token_id)[: self.longest - len(prompt)]

    @property
    def longest(self) -> int:
        """See `Forcing.longest`."""
        return int(self.model.config.max_position_embeddings)


@final
class CTCForcing(Forcing):
    """A token for every frame, blanks too: nothing is fed back, so nothing needs forcing."""

    reads_tokens = False

    @torch.inference_mode()
    def listen(
        self, encoded: Float[Tensor, "1 seq width"], duration_s: float, language: str | None
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """See `Forcing.listen`; there is no prompt, and no end token."""
        return (), tuple(ctc_head(self.model)(encoded)[0].argmax(-1).tolist())

    def states(
        self, encoded: Float[Tensor, "batch seq width"], texts: Sequence[Text]
    ) -> list[Float[Tensor, "targets width"]]:
        """The encoder's output."""
        return list(encoded)

    @property
    def longest(self) -> int:
        """Nothing is fed to a decoder."""
        return 0

    def is_empty(self, targets: tuple[int, ...]) -> bool:
        """Blanks alone."""
        return set(targets) <= {self.speech.processor.tokenizer.pad_token_id}

    @property
    def head(self) -> tuple[Float[Tensor, "vocab width"], Float[Tensor, "vocab"] | None]:
        """The matrix that scores tokens, and its bias; a convolution in some families."""
        output: Any = ctc_head(self.model)
        return output.weight.detach().flatten(1), output.bias.detach()


def forcing_for(speech: SpeechModel) -> Forcing:
    """The way a model decodes.

    Raises:
        UnsupportedModelError: No runtime knows the architecture.
    """
    known: dict[Family, type[Forcing]] = {
        "whisper": WhisperForcing,
        "moonshine": MoonshineForcing,
        "ctc": CTCForcing,
    }
    return known[family_of(speech)](speech)
