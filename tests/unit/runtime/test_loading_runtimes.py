"""Which runtime is chosen, and what happens where it cannot be had."""

import logging
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteasr.errors import MissingDependencyError, UnsupportedModelError
from liteasr.runtime import (
    TranscriptionOptions,
    decoder_choice,
    encoder_files,
    encoder_for,
    loading,
    transcriber_for,
)
from liteasr.runtime.faster_whisper import FasterWhisperTranscriber
from liteasr.runtime.greedy import Generated
from liteasr.runtime.hardware import fastest_encoders
from liteasr.runtime.hybrid import LoopGuard
from liteasr.runtime.onnxruntime import OnnxEncoder
from liteasr.runtime.openvino import OpenVinoEncoder
from liteasr.runtime.transformers import TransformersTranscriber
from liteasr.sources import SpeechModel
from scripted_whisper import english_only, scripted


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose as on another processor; by default one that has nothing special."""

    def use(*flags: str) -> None:
        kinds = fastest_encoders(frozenset(flags))
        monkeypatch.setattr(encoder_files, "fastest_encoders", lambda: kinds)

    use()
    return use


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a package look as if it were not installed."""

    def hide(package: str) -> None:
        def require(module: str, *, extra: str) -> object:
            if module == package:
                message = f"{module} is needed for this: pip install 'liteasr[{extra}]'"
                raise MissingDependencyError(message)
            return None

        monkeypatch.setattr(loading, "require", require)
        monkeypatch.setattr(encoder_files, "require_installed", require)

    return hide


def test_auto_takes_the_hybrid_and_says_so(
    tiny_speech: SpeechModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = transcriber_for(english_only(tiny_speech), runtime="auto", compute_type="float32")
    assert isinstance(made, FasterWhisperTranscriber)
    expected = "runtime: faster-whisper, onnxruntime-float32:tiny, decoding in float32"
    assert expected in caplog.text


@pytest.mark.parametrize(
    ("compute_type", "kept"), [("auto", "int8"), ("int8", "int8"), ("float32", "float32")]
)
def test_decoders_are_kept_as_they_compute(
    tiny_speech: SpeechModel, tmp_path: Path, compute_type: str, kept: str
) -> None:
    made = transcriber_for(
        english_only(tiny_speech), runtime="faster-whisper", compute_type=compute_type
    )
    assert made.model.model.compute_type.startswith(kept)  # type: ignore[attr-defined]
    (directory,) = (tmp_path / "cache" / "ctranslate2").iterdir()
    assert f"-{kept}-" in directory.name


def test_auto_decodes_greedily_by_itself(
    tiny_speech: SpeechModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    speech = scripted(english_only(tiny_speech), {"a": 10.0, "b": 9.0, "<|29.00|>": 12.0})
    asked: list[Any] = []
    theirs = LoopGuard._decode

    def noted(guard: LoopGuard, encoded: Any, prompts: Any, options: Any) -> Any:
        results = theirs(guard, encoded, prompts, options)
        asked.append((options["beam_size"], isinstance(results[0], Generated)))
        return results

    monkeypatch.setattr(LoopGuard, "_decode", noted)
    made = transcriber_for(speech, runtime="faster-whisper")
    assert "decoding in our int8, and int8" in caplog.text
    wave = np.random.default_rng(0).standard_normal(32_000, dtype=np.float32) / 10
    texts = [
        made.transcribe(
            wave, TranscriptionOptions(language="en", temperature=(0.0,), beam_size=beams,
                                       max_new_tokens=8, compression_ratio_threshold=None)
        ).text
        for beams in (1, 2)
    ]  # fmt: skip
    assert texts == ["a", "a"]
    assert asked == [(1, True), (2, False)]


def test_without_onnx_ctranslate2_decodes_all(
    tiny_speech: SpeechModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def missing(*_: Any) -> None:
        raise MissingDependencyError("onnx is needed for this: pip install 'liteasr[onnx]'")

    monkeypatch.setattr(decoder_choice, "greedy_directory", missing)
    made = transcriber_for(english_only(tiny_speech), runtime="faster-whisper", encoder="torch")
    assert isinstance(made, FasterWhisperTranscriber)
    assert made.decodes_in.startswith("int8")
    assert "decoder: CTranslate2's alone, for onnx is needed" in caplog.text


def test_auto_says_why_it_takes_transformers(
    tiny_speech: SpeechModel, without: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = transcriber_for(tiny_speech, runtime="auto")  # knows languages by a small vocabulary
    assert isinstance(made, TransformersTranscriber)
    assert "runtime: transformers, for CTranslate2 takes tiny for another kind" in caplog.text
    without("faster_whisper")
    made = transcriber_for(english_only(tiny_speech), runtime="auto")
    assert isinstance(made, TransformersTranscriber)
    assert "pip install 'liteasr[faster-whisper]'" in caplog.text


def test_what_is_named_is_not_replaced(tiny_speech: SpeechModel, without: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="use the runtime 'transformers'"):
        transcriber_for(tiny_speech, runtime="faster-whisper")
    without("faster_whisper")
    with pytest.raises(MissingDependencyError, match=r"pip install 'liteasr\[faster-whisper\]'"):
        transcriber_for(english_only(tiny_speech), runtime="faster-whisper")
    with pytest.raises(MissingDependencyError, match=r"liteasr\[faster-whisper\]"):
        transcriber_for(english_only(tiny_speech), runtime="auto", encoder="torch")


def test_encoders_are_exported_once(tiny_speech: SpeechModel, tmp_path: Path) -> None:
    for choice in ("onnx", "onnx", "auto", "onnx-int8"):
        assert isinstance(encoder_for(tiny_speech, choice), OnnxEncoder)
    assert isinstance(encoder_for(tiny_speech, "openvino"), OpenVinoEncoder)  # the file of onnx
    assert len(list((tmp_path / "cache" / "onnx").glob("*.onnx"))) == 2


def test_openvino_compiles_once(tiny_speech: SpeechModel, tmp_path: Path) -> None:
    window = np.random.default_rng(0).standard_normal((1, 80, 100), dtype=np.float32)
    first, second = (encoder_for(tiny_speech, "openvino").encode(window) for _ in range(2))
    assert np.array_equal(first, second)
    assert len(list((tmp_path / "cache" / "openvino").iterdir())) == 1


def test_torch_encodes_in_the_dtype_that_is_named(tiny_speech: SpeechModel) -> None:
    assert encoder_for(tiny_speech, "torch").name == "torch-float32:tiny"
    assert encoder_for(tiny_speech, "torch-bfloat16").name == "torch-bfloat16:tiny"


def test_auto_takes_bfloat16_where_there_are_tiles(
    tiny_speech: SpeechModel, processor: Any, without: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    processor("avx512f", "amx_bf16")
    assert isinstance(encoder_for(tiny_speech), OpenVinoEncoder)
    assert "encoder: openvino, the fastest on this processor" in caplog.text
    without("openvino")
    assert encoder_for(tiny_speech).name == "torch-bfloat16:tiny"
    assert "encoder: not openvino, openvino is needed" in caplog.text
    assert "encoder: torch-bfloat16, the fastest that is installed" in caplog.text
    with pytest.raises(MissingDependencyError, match=r"liteasr\[openvino\]"):
        encoder_for(tiny_speech, "openvino")


def test_without_onnx_runtime_auto_encodes_with_torch(
    tiny_speech: SpeechModel, without: Any
) -> None:
    without("onnxruntime")
    assert encoder_for(tiny_speech, "auto").name == "torch-float32:tiny"
    with pytest.raises(MissingDependencyError, match=r"liteasr\[onnx\]"):
        encoder_for(tiny_speech, "onnx")


def test_wrong_choices_are_refused(tiny_speech: SpeechModel) -> None:
    for wrong, message in (
        ({"runtime": "ct2"}, "runtime must be one of auto, transformers, faster-whisper"),
        ({"encoder": "tflite"}, "encoder must be one of auto, torch, torch-bfloat16, onnx"),
        ({"encoder": "onnx"}, "other than 'torch' are of the runtime 'faster-whisper'"),
        ({"compute_type": "int8"}, "are of the runtime 'faster-whisper'"),
    ):
        with pytest.raises(ValueError, match=message):
            transcriber_for(tiny_speech, **wrong)
    with pytest.raises(ValueError, match="int3"):
        transcriber_for(english_only(tiny_speech), runtime="auto", compute_type="int3")
    tiny_speech.model.config.model_type = "parrot"
    with pytest.raises(UnsupportedModelError, match="no runtime can decode tiny"):
        transcriber_for(tiny_speech)


def test_the_hybrid_takes_no_model_on_a_gpu(tiny_speech: SpeechModel) -> None:
    elsewhere = replace(tiny_speech, model=deepcopy(tiny_speech.model).to("meta"))
    with pytest.raises(UnsupportedModelError, match="works on the CPU and tiny is on meta"):
        transcriber_for(elsewhere, runtime="faster-whisper")
