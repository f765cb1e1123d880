"""KL to the dense model for models that are no Whisper."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from liteasr.corpus import load_corpus
from liteasr.errors import CorpusError, UnsupportedModelError
from liteasr.evaluation import dense_reference, measure_divergence
from liteasr.runtime.forcing import forcing_for
from liteasr.sources import SpeechModel
from tiny_ctc import tiny_wav2vec2
from tiny_moonshine import tiny_moonshine

FAMILIES: dict[str, Callable[[], SpeechModel]] = {
    "ctc": tiny_wav2vec2,
    "moonshine": tiny_moonshine,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_does_not_diverge_from_itself_and_does_when_changed(
    family: str, recordings: Path
) -> None:
    speech = FAMILIES[family]()
    reference = dense_reference(speech, load_corpus(recordings).sample(2))
    same = measure_divergence(reference, speech)
    assert same.mean_kl == pytest.approx(0.0, abs=1e-9)
    assert same.agreement == 1.0
    other = deepcopy(speech)
    with torch.no_grad():
        for parameter in forcing_for(other).model.base_model.encoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    assert measure_divergence(reference, other).mean_kl > 1e-4


def test_frames_are_the_tokens_of_ctc(recordings: Path) -> None:
    speech = tiny_wav2vec2()
    utterance = next(iter(load_corpus(recordings)))
    one = dense_reference(speech, [utterance]).utterances[0]
    inputs = speech.processor(utterance.load(), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        logits = speech.model(**inputs).logits[0]
    assert one.targets == tuple(logits.argmax(-1).tolist())
    head, bias = forcing_for(speech).head
    torch.testing.assert_close(one.states @ head.T + bias, logits, rtol=1e-5, atol=1e-5)


def test_blanks_alone_are_no_text(recordings: Path) -> None:
    speech = tiny_wav2vec2()
    with torch.no_grad():
        speech.model.lm_head.bias[0] = 1e4
    with pytest.raises(CorpusError, match="hears no text"):
        dense_reference(speech, load_corpus(recordings).sample(1))


def test_what_no_runtime_decodes_is_refused(recordings: Path) -> None:
    speech = tiny_wav2vec2()
    headless = SpeechModel(
        name="headless", origin="", model=speech.model.wav2vec2, processor=speech.processor
    )
    with pytest.raises(UnsupportedModelError, match="no runtime can decode headless"):
        forcing_for(headless)
