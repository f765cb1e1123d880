"""A Whisper that pools positions, from calibration to words with times."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import liteasr
from liteasr.checkpoint import CompressedModel
from liteasr.encoders import encode, encoder_fingerprint, pool_positions_, pooled_from
from liteasr.errors import CheckpointError, ExportError, PlanError
from liteasr.export.dense import merged
from liteasr.plan import require_fit
from liteasr.refinement import RefinementConfig
from liteasr.runtime import RuntimeChoice, TranscriptionOptions, transcriber_for
from liteasr.sources import SpeechModel
from liteasr.workflow import refine
from scripted_whisper import english_only, scripted
from tiny_whisper import tiny_whisper

MakeWave = Callable[[int, float], np.ndarray]
QUICK = RefinementConfig(
    steps=40,
    batch_size=2,
    check_every=10,
    learning_rate=1e-4,
    divergence_weight=0.0,
    precision="float32",
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


@pytest.fixture
def lite(tiny_speech: SpeechModel, recordings: Path) -> CompressedModel:
    return liteasr.compress(tiny_speech, audio=recordings, flops=0.6, pool_from=1)


def test_the_plan_says_it_and_the_checkpoint_keeps_it(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert lite.plan.pooled_from == 1
    again = liteasr.load(lite.save(tmp_path / "lite"))
    assert again.plan == lite.plan
    features = {"input_features": torch.randn(1, 80, 500)}
    expected, found = (
        encode(m.speech.model.get_encoder(), features).detach() for m in (lite, again)
    )
    assert found.shape[1] == 125
    torch.testing.assert_close(found, expected)


def test_the_same_plan_makes_the_same_model(  # type: ignore[no-untyped-def]
    make_speech, recordings: Path, lite, tmp_path: Path
) -> None:
    moments = tmp_path / "m.safetensors"
    again = liteasr.compress(make_speech(), audio=recordings, moments=moments, plan=lite.plan)
    assert encoder_fingerprint(again.speech.model) == encoder_fingerprint(lite.speech.model)
    with pytest.raises(ValueError, match="leave pool_from out"):
        liteasr.compress(make_speech(), moments=moments, plan=lite.plan, pool_from=0)
    speech = make_speech()
    pool_positions_(speech.model, 0)
    with pytest.raises(PlanError, match="pools positions from block 1 on and the encoder from 0"):
        require_fit(speech, lite.plan)
    speech = make_speech()
    with pytest.raises(liteasr.LiteASRError):  # the moments are of another encoder
        liteasr.compress(speech, moments=moments, keep=0.8, pool_from=0)
    assert pooled_from(speech.model.get_encoder()) is None


def test_it_is_refined_towards_the_whole_original(make_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    lite = liteasr.compress(make_speech(), audio=recordings, keep=0.5, pool_from=1)
    refined = refine(lite, audio=recordings, original=make_speech(), config=QUICK)
    assert refined.refinement is not None
    assert refined.refinement.after < refined.refinement.before
    assert pooled_from(lite.speech.model.get_encoder()) == 1


def test_one_call_refines_it_too(make_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    made = liteasr.compress(
        make_speech(), audio=recordings, keep=1.0, pool_from=0, refinement=QUICK
    )
    assert made.refinement is not None
    assert made.refinement.after <= made.refinement.before


def test_audio_alone_can_be_counted(make_speech, recordings: Path) -> None:  # type: ignore[no-untyped-def]
    speech = make_speech()
    pool_positions_(speech.model, 1)
    corpus = liteasr.load_corpus(recordings)
    found = liteasr.calibrate(speech, corpus, frames="speech")
    heard = found.provenance.audio_positions
    counts = {key: moments.count for key, moments in found.moments.items()}
    for key, count in counts.items():
        whole = key.startswith(("conv2", "layers.0"))
        assert count == pytest.approx(heard if whole else heard / 2, abs=len(corpus)), key


def test_words_have_the_times_of_the_audio(babble: MakeWave) -> None:
    speech = english_only(scripted(tiny_whisper(), {"a": 10.0, "<|4.00|>": 12.0}))
    pool_positions_(speech.model, 1)
    options = TranscriptionOptions(
        language="en", temperature=(0.0,), max_new_tokens=6, word_timestamps=True
    )
    runtimes: tuple[RuntimeChoice, ...] = ("transformers", "faster-whisper")
    for runtime in runtimes:
        made = transcriber_for(speech, runtime=runtime)
        found = made.transcribe(babble(0, 4.0), options)
        assert found.segments
        words = [word for segment in found.segments for word in segment.words]
        assert all(0 <= word.start <= word.end <= 4.0 for word in words)


def test_a_decoder_reads_pairs_once(make_speech, babble: MakeWave) -> None:  # type: ignore[no-untyped-def]
    speech = english_only(make_speech())
    pool_positions_(speech.model, 1)
    model = transcriber_for(speech, runtime="faster-whisper", encoder="torch").model  # type: ignore[attr-defined]
    windows = np.ones((1, 80, 500), np.float32)
    assert model.encode(windows).shape == [1, 125, 64]
    assert model.reading(pooling=2).encode(windows).shape == [1, 62, 64]


def test_what_does_not_know_pairs_is_refused(  # type: ignore[no-untyped-def]
    lite, make_speech, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="lite-whisper layout does not know pooled"):
        lite.save(tmp_path / "lite", layout="lite-whisper")
    with pytest.raises(ExportError, match="pools positions from block 1 on, which no dense"):
        merged(lite.speech)
    with pytest.raises(PlanError, match="a speed-up does not know pooled positions"):
        liteasr.compress(make_speech(), audio=recordings, speedup=1.5, pool_from=1)
