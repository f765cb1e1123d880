import io
import json
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from liteasr.errors import AudioError, UnsupportedModelError
from liteasr.runtime import TranscriptionOptions, transcriber_for, waveform_of
from liteasr.sources import SpeechModel


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": " "}, "language"),
        ({"task": "summarize"}, "transcribe, translate, got 'summarize'"),
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"temperature": ()}, "temperature"),
        ({"temperature": (-0.1,)}, "in \\[0, 2\\]"),
        ({"temperature": (0.4, 0.2)}, "must rise"),
        ({"compression_ratio_threshold": 0.0}, "above 0"),
        ({"logprob_threshold": 0.1}, "at most 0"),
        ({"no_speech_threshold": 1.1}, "in \\[0, 1\\]"),
        ({"word_timestamps": True, "timestamps": False}, "needs timestamps"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TranscriptionOptions(**changes)


def test_options_survive_json() -> None:
    options = TranscriptionOptions(language="de", temperature=(0.0, 0.5), logprob_threshold=None)
    assert TranscriptionOptions(**json.loads(json.dumps(asdict(options)))) == options


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 5), np.float32), r"float32 \[2, 5\]"),
        (np.zeros(5, np.int16), "int16"),
        (np.zeros(0, np.float32), "empty"),
        (np.array([0.0, np.nan]), "NaN"),
    ],
)
def test_arrays_that_are_no_waveforms_are_refused(waveform: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        waveform_of(waveform)


def test_waveforms_become_float32() -> None:
    assert waveform_of(np.ones(3)).dtype == np.float32


def test_files_are_decoded() -> None:
    with pytest.raises(AudioError):
        waveform_of(io.BytesIO(b"not audio"))


def test_a_model_without_a_runtime_is_refused() -> None:
    model = SimpleNamespace(config=SimpleNamespace(model_type="gpt2"))
    speech = SpeechModel(name="talker", origin="here", model=model, processor=None)
    with pytest.raises(UnsupportedModelError, match="talker, a 'gpt2' model"):
        transcriber_for(speech)


@pytest.mark.parametrize("package", ["runtime", "evaluation"])
def test_importing_is_lean(package: str) -> None:
    code = (
        f"import sys, liteasr.{package};"
        "print([m for m in ('transformers', 'jiwer', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
