"""An exported encoder gives what the model gives, in every form the encoder may have."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from liteasr.errors import ExportError, StorageError, UnsupportedModelError
from liteasr.export import EncoderDescription, export_encoder
from liteasr.runtime.encoding import EncoderRuntime
from liteasr.runtime.onnxruntime import OnnxEncoder
from liteasr.runtime.torch_encoder import TorchEncoder
from liteasr.sources import SpeechModel
from tiny_forms import FORMS, WIDTH, narrow_scores
from tiny_whisper import tiny_whisper


def features(batch: int, frames: int) -> np.ndarray:
    rng = np.random.default_rng(frames)
    return rng.standard_normal((batch, 80, frames), dtype=np.float32)


@pytest.fixture(scope="module", params=FORMS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SpeechModel, OnnxEncoder]:
    speech = tiny_whisper()
    FORMS[request.param](speech)
    speech.model.eval()
    path = tmp_path_factory.mktemp("export") / "encoder_model.onnx"
    made = export_encoder(speech, path)
    assert made.agreement.relative < 1e-5
    assert made.agreement.largest < 1e-3
    return speech, OnnxEncoder(path, threads=1)


@pytest.mark.parametrize(
    ("batch", "frames"), [(1, 3000), (3, 640), (2, 101), (1, 3), (1, 2), (2, 1)]
)
def test_any_length_and_batch_as_eager(
    exported: tuple[SpeechModel, OnnxEncoder], batch: int, frames: int
) -> None:
    speech, runtime = exported
    given = features(batch, frames)
    expected = TorchEncoder(speech).encode(given)
    np.testing.assert_allclose(runtime.encode(given), expected, rtol=1e-3, atol=1e-4)


def test_the_file_describes_itself(exported: tuple[SpeechModel, OnnxEncoder]) -> None:
    _, runtime = exported
    about = runtime.description
    assert (about.model, about.model_type, about.precision) == ("tiny", "whisper", "float32")
    assert (about.n_mels, about.frames, about.width) == (80, 3000, WIDTH)
    assert runtime.name == "onnxruntime-float32:tiny"
    assert about.flops > 2 * 1500 * about.parameters  # attention products are in it


def test_the_runtime_is_an_encoder_runtime(exported: tuple[SpeechModel, OnnxEncoder]) -> None:
    runtime: EncoderRuntime = exported[1]
    with pytest.raises(ValueError, match=r"\[batch, 80, frames\]"):
        runtime.encode(features(1, 10)[:, :40])
    with pytest.raises(ValueError, match="1 to 3000 frames"):
        runtime.encode(features(1, 3001))


def test_a_bias_of_keys_and_values_is_not_lost(tmp_path: Path) -> None:
    """They are moved through the attention: large ones would show."""
    speech = tiny_whisper()
    narrow_scores(speech)
    attention = speech.model.get_encoder().layers[0].self_attn
    with torch.no_grad():
        attention.k_proj.bias.fill_(3.0)
        attention.v_proj.bias.copy_(torch.linspace(-5, 5, WIDTH))
    assert export_encoder(speech, tmp_path / "e.onnx").agreement.relative < 1e-5


def test_weights_in_a_second_file_give_the_same(tmp_path: Path) -> None:
    speech = tiny_whisper()
    one = export_encoder(speech, tmp_path / "one.onnx")
    two = export_encoder(speech, tmp_path / "two.onnx", external_from_bytes=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"one.onnx", "two.onnx", "two.onnx_data"}
    assert two.path.stat().st_size < one.path.stat().st_size / 10
    given = features(1, 50)
    np.testing.assert_array_equal(
        OnnxEncoder(one.path, threads=1).encode(given),
        OnnxEncoder(two.path, threads=1).encode(given),
    )


def test_the_graph_is_sound_and_keeps_its_plan(tmp_path: Path) -> None:
    made = export_encoder(tiny_whisper(), tmp_path / "e.onnx")
    model = onnx.load(made.path)
    onnx.checker.check_model(model)
    (metadata,) = [p for p in model.metadata_props if p.key == "liteasr"]
    assert json.loads(metadata.value)["model"] == "tiny"
    assert (
        EncoderDescription.from_properties({"liteasr": metadata.value}, file=made.path)
        == made.description
    )


def test_half_precision_models_are_exported_in_float32(tmp_path: Path) -> None:
    speech = tiny_whisper()
    speech.model.to(torch.bfloat16)
    made = export_encoder(speech, tmp_path / "e.onnx", tolerance=0.1)
    speech.model.to(torch.float32)
    given = features(1, 100)
    expected = TorchEncoder(speech).encode(given)
    np.testing.assert_allclose(
        OnnxEncoder(made.path, threads=1).encode(given), expected, rtol=1e-3, atol=1e-4
    )


def test_nothing_is_written_when_the_export_differs(tmp_path: Path) -> None:
    kept = export_encoder(tiny_whisper(seed=1), tmp_path / "e.onnx").path.read_bytes()
    with pytest.raises(ExportError, match=r"relative error .*limit is 1e-30"):
        export_encoder(tiny_whisper(), tmp_path / "e.onnx", tolerance=1e-30)
    assert [path.name for path in tmp_path.iterdir()] == ["e.onnx"]
    assert (tmp_path / "e.onnx").read_bytes() == kept


def test_not_a_number_is_no_agreement(tmp_path: Path) -> None:
    speech = tiny_whisper()
    with torch.no_grad():
        speech.model.get_encoder().layer_norm.weight[0] = float("nan")
    with pytest.raises(ExportError, match="relative error nan"):
        export_encoder(speech, tmp_path / "e.onnx")


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision must be one of float32, int8, got 'int4'"):
        export_encoder(tiny_whisper(), tmp_path / "e.onnx", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="activation is 'relu'"):
        export_encoder(tiny_whisper(activation_function="relu"), tmp_path / "e.onnx")
    speech = tiny_whisper()
    speech.model.get_encoder().layers[1].fc2 = nn.Identity()
    with pytest.raises(ExportError, match=r"layers.1.fc2 is a Identity"):
        export_encoder(speech, tmp_path / "e.onnx")
    speech = tiny_whisper()
    speech.model.config.model_type = "moonshine"
    with pytest.raises(UnsupportedModelError, match="'moonshine'"):
        export_encoder(speech, tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        export_encoder(tiny_whisper(), tmp_path / "file" / "e.onnx")


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no file"):
        OnnxEncoder(tmp_path / "missing.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"not onnx")
    with pytest.raises(ExportError, match="cannot open"):
        OnnxEncoder(tmp_path / "damaged.onnx")
    path = export_encoder(tiny_whisper(), tmp_path / "e.onnx").path
    with pytest.raises(ValueError, match="threads must be at least 1"):
        OnnxEncoder(path, threads=0)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ExportError, match="not an encoder that liteasr exported"):
        OnnxEncoder(path)
    with pytest.raises(ExportError, match="damaged"):
        EncoderDescription.from_properties({"liteasr": "{}"}, file=path)
    with pytest.raises(ExportError, match="damaged"):
        EncoderDescription.from_properties({"liteasr": "{"}, file=path)


def test_metadata_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    made = export_encoder(tiny_whisper(), tmp_path / "e.onnx").description
    value = json.loads(made.to_properties()["liteasr"]) | {"version": 99}
    with pytest.raises(ExportError, match="metadata version 99"):
        EncoderDescription.from_properties({"liteasr": json.dumps(value)}, file="e.onnx")


def test_models_of_short_windows_are_exported(tmp_path: Path) -> None:
    made = export_encoder(tiny_whisper(window_s=5), tmp_path / "encoder.onnx")
    assert made.agreement.relative < 1e-3
