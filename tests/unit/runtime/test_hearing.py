"""Gradients of drawn words at the encoder's output: Fisher's information of what a model says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from liteasr.corpus import load_corpus
from liteasr.evaluation.reference import encode_first_window
from liteasr.runtime.forcing import Forcing, Text, forcing_for
from liteasr.runtime.hearing import Listener, listener_of
from liteasr.sources import SpeechModel
from tiny_ctc import tiny_wav2vec2
from tiny_moonshine import tiny_moonshine
from tiny_whisper import tiny_whisper

FAMILIES: dict[str, Callable[[], SpeechModel]] = {
    "ctc": tiny_wav2vec2,
    "moonshine": tiny_moonshine,
    "whisper": lambda: tiny_whisper(window_s=5),
}
DRAWS = 300


def encoded_by(speech: SpeechModel, recordings: Path) -> Tensor:
    return encode_first_window(speech, load_corpus(recordings)[0].load()).clone()


def log_probabilities(forcing: Forcing, encoded: Tensor, text: Text) -> Tensor:
    (states,) = forcing.states(encoded, [text])
    return functional.linear(states, *forcing.head).double().log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_squares_of_readings_are_twice_the_divergence(
    family: str, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = FAMILIES[family]()
    forcing, encoded = forcing_for(speech), encoded_by(speech, recordings)
    text = forcing.listen(encoded, 1.0, None)
    monkeypatch.setattr(type(forcing), "listen", lambda *_: text)  # once is enough
    error = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(0))
    error *= 0.01 * encoded.norm() / error.norm()
    with torch.no_grad():
        p = log_probabilities(forcing, encoded, text)
        q = log_probabilities(forcing, encoded + error, text)
    divergence = float(functional.kl_div(q, p, reduction="sum", log_target=True))
    listen = Listener(forcing)
    heard = (listen(encoded, 1.0, None, seed=seed) for seed in range(DRAWS))
    squares = [float((g * error).sum()) ** 2 for g in heard if g is not None]
    assert len(squares) == DRAWS
    assert sum(squares) / DRAWS == pytest.approx(2 * divergence, rel=0.4)


def test_the_same_seed_draws_the_same_words(recordings: Path) -> None:
    speech = tiny_whisper(window_s=5)
    listen, encoded = listener_of(speech), encoded_by(speech, recordings)
    assert listen is not None
    first, again, other = (listen(encoded, 1.0, "en", seed=seed) for seed in (3, 3, 4))
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(parameter.grad is None for parameter in speech.model.parameters())


def test_an_unknown_language_is_found_out(recordings: Path) -> None:
    speech = tiny_whisper(window_s=5)
    listen, encoded = Listener(forcing_for(speech)), encoded_by(speech, recordings)
    found, unknown = (listen(encoded, 1.0, language, seed=0) for language in (None, "xx"))
    assert found is not None
    assert unknown is not None
    assert torch.equal(found, unknown)


def test_where_no_text_is_heard_nothing_counts(recordings: Path) -> None:
    speech = tiny_wav2vec2()
    with torch.no_grad():
        speech.model.lm_head.bias[0] = 1e4  # blanks alone
    assert Listener(forcing_for(speech))(encoded_by(speech, recordings), 1.0, None, seed=0) is None


def test_nobody_listens_to_what_no_runtime_decodes() -> None:
    speech = tiny_wav2vec2()
    headless = SpeechModel(
        name="headless", origin="", model=speech.model.wav2vec2, processor=speech.processor
    )
    assert listener_of(headless) is None
