"""Our greedy decoder on OpenAI's weights, beside CTranslate2's."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch

from liteasr.audio import load_audio
from liteasr.encoders import encode
from liteasr.export.ctranslate2 import write_decoder
from liteasr.export.greedy import write_greedy_decoder
from liteasr.runtime.decoder_choice import decoder_parts
from liteasr.runtime.decoder_parts import SpecialTokens
from liteasr.runtime.greedy import Generated, GreedyDecoder
from liteasr.sources import SpeechModel, fetch, load_dense

pytestmark = pytest.mark.real

OPTIONS = {"beam_size": 1, "return_scores": True, "return_no_speech_prob": True}
PROMPTS = {"times": [50257], "no times": [50257, 50362], "before": [50360, 383, 2368, 50257]}


@pytest.fixture(scope="module")
def tiny() -> SpeechModel:
    return load_dense("whisper-tiny.en")


@pytest.fixture(scope="module")
def states(tiny: SpeechModel) -> list[np.ndarray]:
    found = []
    for file in sorted((fetch("audioeval") / "en").glob("*.wav"))[:3]:
        (window,) = [tiny.processor(load_audio(file), sampling_rate=16_000, return_tensors="pt")]
        with torch.inference_mode():
            encoded = encode(tiny.model.get_encoder(), {"input_features": window.input_features})
        found.append(np.ascontiguousarray(encoded.numpy()[:, :400]))
    return found


def decoder(tiny: SpeechModel, folder: Path, precision: Any) -> GreedyDecoder:
    write_greedy_decoder(tiny, folder, precision=precision)
    tokens = SpecialTokens.of(tiny.model.generation_config)
    return GreedyDecoder(folder, tokens, threads=2)


def test_tokens_and_scores_are_ctranslate2s(
    tiny: SpeechModel, states: list[np.ndarray], tmp_path: Path
) -> None:
    write_decoder(tiny, tmp_path / "theirs")
    theirs = ctranslate2.models.Whisper(str(tmp_path / "theirs"), compute_type="float32")
    ours = decoder(tiny, tmp_path / "ours", "float32")
    for prompt in PROMPTS.values():
        for one in states:
            view = ctranslate2.StorageView.from_array(one)
            (expected,) = theirs.generate(view, [prompt], **OPTIONS)
            (found,) = ours.generate(one, [prompt], **OPTIONS)
            assert found.sequences_ids == expected.sequences_ids
            assert found.scores == pytest.approx(expected.scores, abs=1e-3)
            assert found.no_speech_prob == pytest.approx(expected.no_speech_prob, rel=1e-2)


def test_int8_says_nearly_the_same(
    tiny: SpeechModel,
    states: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a model is opened for the first time, with CTranslate2's int8 decoder made before ours."""
    exact = decoder(tiny, tmp_path / "float32", "float32")
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))
    parts = decoder_parts(tiny)
    assert parts.greedy is not None
    close = GreedyDecoder(parts.greedy, parts.tokens, threads=2)
    batch = np.concatenate(states)
    prompts = [PROMPTS["no times"]] * len(batch)

    def text(result: Generated) -> str:
        said: str = tiny.processor.tokenizer.decode(result.sequences_ids[0])
        return said

    pairs = [
        (text(a), text(b))
        for a, b in zip(exact.generate(batch, prompts), close.generate(batch, prompts), strict=True)
    ]
    assert sum(a == b for a, b in pairs) >= 2, pairs
