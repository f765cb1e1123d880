"""OpenVINO gives what PyTorch gives, in every form that an encoder may have."""

from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from liteasr.errors import ExportError
from liteasr.export import export_encoder
from liteasr.runtime import openvino
from liteasr.runtime.openvino import OpenVinoEncoder
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources import SpeechModel
from tiny_forms import FORMS
from tiny_whisper import tiny_whisper

SHAPES = [(1, 3000), (3, 640), (2, 101), (1, 3), (2, 1)]


def features(batch: int, frames: int) -> np.ndarray:
    rng = np.random.default_rng(frames)
    return rng.standard_normal((batch, 80, frames), dtype=np.float32)


@pytest.fixture(scope="module", params=FORMS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SpeechModel, Path]:
    speech = tiny_whisper()
    FORMS[request.param](speech)
    speech.model.eval()
    return speech, export_encoder(speech, tmp_path_factory.mktemp("export") / "e.onnx").path


def test_float32_is_as_eager(exported: tuple[SpeechModel, Path]) -> None:
    speech, path = exported
    runtime = OpenVinoEncoder(path, threads=1, precision="f32")
    assert runtime.name == "openvino-f32:tiny"
    for shape in SHAPES:
        given = features(*shape)
        expected = TorchEncoder(speech).encode(given)
        np.testing.assert_allclose(runtime.encode(given), expected, rtol=1e-3, atol=1e-4)


def test_bfloat16_is_near(exported: tuple[SpeechModel, Path]) -> None:
    speech, path = exported
    runtime = OpenVinoEncoder(path, threads=1)
    for shape in SHAPES:
        given = features(*shape)
        expected = TorchEncoder(speech).encode(given)
        found = runtime.encode(given)
        assert found.dtype == np.float32
        assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_encoder(tiny_whisper(), tmp_path_factory.mktemp("one") / "e.onnx").path


def test_two_threads_may_encode(file: Path) -> None:
    """OpenVINO itself refuses a caller while another one is served."""
    runtime = OpenVinoEncoder(file, threads=1, precision="f32")
    given = features(1, 3000)
    expected = runtime.encode(given)
    found: list[np.ndarray] = []
    callers = [Thread(target=lambda: found.append(runtime.encode(given))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    for one in found:
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize(("can", "kind"), [(["FP32", "BF16"], "bf16"), (["FP32"], "f32")])
def test_the_name_says_what_the_processor_computes_in(
    can: list[str], kind: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino as package

    core, asked = package.Core(), []

    class Core:
        read_model = staticmethod(core.read_model)

        def get_property(self, device: str, name: str) -> list[str]:
            return can

        def compile_model(self, graph: Any, device: str, options: dict[str, Any]) -> None:
            asked.append(options)

    monkeypatch.setattr(openvino, "require", lambda *_, **__: SimpleNamespace(Core=Core))
    assert OpenVinoEncoder(file).name == f"openvino-{kind}:tiny"
    OpenVinoEncoder(file, threads=3)
    assert asked[0] == {"INFERENCE_PRECISION_HINT": kind}
    assert asked[1] == {"INFERENCE_PRECISION_HINT": kind, "INFERENCE_NUM_THREADS": 3}


def test_wrong_files_and_features_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no file"):
        OpenVinoEncoder(tmp_path / "missing.onnx")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        OpenVinoEncoder(file, threads=0)
    (tmp_path / "damaged.onnx").write_bytes(b"junk")
    with pytest.raises(ExportError, match=r"cannot open .*damaged\.onnx: export it again"):
        OpenVinoEncoder(tmp_path / "damaged.onnx")
    foreign = onnx.load(file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ExportError, match="is not an encoder that liteasr exported"):
        OpenVinoEncoder(tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match=r"\[batch, 80, frames\]"):
        OpenVinoEncoder(file).encode(features(1, 10)[:, :40])
