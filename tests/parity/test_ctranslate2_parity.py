"""Whisper base read from CTranslate2's bytes hears what CTranslate2 itself hears.

Both sides get faster-whisper's features: it pads a short clip's features with zeros, where
transformers pads the audio with silence, and that alone can change a word.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from liteasr.sources import SpeechModel, fetch, load_dense

ctranslate2 = pytest.importorskip("ctranslate2")
faster_whisper = pytest.importorskip("faster_whisper")

pytestmark = pytest.mark.real

CLIPS = ("en/quick_brown_fox.wav", "fr/comptage.wav", "es/pangrama.wav")


@pytest.fixture(scope="module")
def folder() -> Path:
    return fetch("whisper-base")


@pytest.fixture(scope="module")
def ours() -> SpeechModel:
    return load_dense("whisper-base")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return faster_whisper.WhisperModel(
        str(folder), device="cpu", compute_type="float32", cpu_threads=2
    )


@pytest.fixture(scope="module")
def clips() -> dict[str, dict[str, Any]]:
    recordings = fetch("audioeval")
    lines = (recordings / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = {entry["audio"]: entry for entry in map(json.loads, lines)}
    for entry in entries.values():
        entry["path"] = recordings / entry["audio"]
    return entries


def features_of(theirs: Any, waveform: np.ndarray) -> np.ndarray:
    from faster_whisper.audio import pad_or_trim

    return pad_or_trim(theirs.feature_extractor(waveform)[:, :-1])[None]


def test_the_encoders_agree(ours: SpeechModel, folder: Path, theirs: Any, clips: Any) -> None:
    waveform = faster_whisper.decode_audio(str(clips["en/counting.wav"]["path"]))
    features = np.ascontiguousarray(features_of(theirs, waveform))
    reference = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32")
    expected = np.array(reference.encode(ctranslate2.StorageView.from_array(features)))
    with torch.no_grad():
        found = ours.model.model.encoder(torch.from_numpy(features)).last_hidden_state.numpy()
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", CLIPS)
def test_the_transcripts_are_equal(name: str, ours: SpeechModel, theirs: Any, clips: Any) -> None:
    clip = clips[name]
    waveform = faster_whisper.decode_audio(str(clip["path"]))
    features = torch.from_numpy(features_of(theirs, waveform))
    with torch.no_grad():
        ids = ours.model.generate(
            features, language=clip["language"], task="transcribe", num_beams=1, do_sample=False
        )
    found = ours.processor.batch_decode(ids, skip_special_tokens=True)[0]
    segments, _ = theirs.transcribe(
        waveform, language=clip["language"], beam_size=1, temperature=0, without_timestamps=True,
        condition_on_previous_text=False, vad_filter=False,
    )  # fmt: skip
    assert found.strip() == "".join(segment.text for segment in segments).strip()
