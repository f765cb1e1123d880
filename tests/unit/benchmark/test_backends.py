"""Backends on tiny models, and on stand-ins for packages that need not be installed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from liteasr.benchmark.backends import BACKENDS, BackendSpec, StagedBackend, open_backend
from liteasr.errors import SourceError, UnsupportedModelError
from liteasr.runtime.hardware import EncoderKind
from liteasr.sources import SpeechModel
from scripted_whisper import english_only
from tiny_whisper import tiny_whisper

CLIP = np.sin(np.arange(16_000) / 20).astype(np.float32) * 0.2

Fake = Callable[..., ModuleType]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a stand-in in the place of a package."""

    def install(name: str, **members: Any) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return install


def spec(kind: str, model: str = "m", **changes: Any) -> BackendSpec:
    return BackendSpec(kind=kind, model=model, label=kind, threads=3, **changes)


@pytest.fixture(scope="module")
def tiny() -> SpeechModel:
    speech = tiny_whisper(blocks=1, width=32)
    speech.model.generation_config.max_length = 8
    speech.model.config.max_target_positions = 8
    return speech


def test_ours_goes_through_every_stage(tiny: SpeechModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liteasr.benchmark.backends.ours.load_model", lambda _: tiny)
    backend = open_backend(spec("liteasr"))
    assert isinstance(backend, StagedBackend)
    backend.encode(backend.features(CLIP))
    backend.first_token(CLIP)
    assert isinstance(backend.transcribe(CLIP), str)
    assert backend.options.temperature == (0.0,)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "encoder", "decoder"),
    [
        ("hybrid-torch", "torch-float32:tiny", "float32"),
        ("hybrid-onnx-int8", "onnxruntime-int8:tiny", "int8"),
        ("hybrid", None, None),  # by the processor
    ],
)
def test_the_hybrid_goes_through_every_stage(
    kind: str, encoder: str | None, decoder: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    speech = english_only(tiny_whisper(blocks=1, width=32))
    monkeypatch.setenv("LITEASR_CACHE", str(tmp_path))
    monkeypatch.setattr("liteasr.benchmark.backends.hybrid.load_model", lambda _: speech)
    backend: Any = open_backend(spec(kind))
    assert isinstance(backend, StagedBackend)
    assert encoder in (None, backend.encoder.name)
    assert decoder in (None, backend.transcriber.model.model.compute_type.split("_")[0])
    features = backend.features(CLIP)
    assert features.shape == (1, 80, 3000)
    backend.encode(features)
    backend.first_token(CLIP)
    assert isinstance(backend.transcribe(CLIP), str)
    assert backend.options.temperature == (0.0,)


def test_every_encoder_has_a_hybrid() -> None:
    assert {f"hybrid-{kind}" for kind in get_args(EncoderKind)} <= set(BACKENDS)


@pytest.mark.filterwarnings("ignore")  # transformers deprecates what its own Whisper does
def test_transformers_goes_through_every_stage(
    tiny: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteasr.benchmark.backends.transformers.load_dense", lambda _: tiny)
    backend = open_backend(spec("transformers"))
    assert isinstance(backend, StagedBackend)
    backend.encode(backend.features(CLIP))
    asked: list[dict[str, Any]] = []

    def generate(**given: Any) -> torch.Tensor:
        asked.append(given)
        return torch.tensor([[tiny.processor.tokenizer.eos_token_id]])

    monkeypatch.setattr(tiny.model, "generate", generate)
    backend.first_token(CLIP)
    assert backend.transcribe(CLIP) == ""
    backend.transcribe(np.tile(CLIP, 31))
    assert asked[0]["max_new_tokens"] == 1
    assert [one.get("return_timestamps") for one in asked] == [None, False, True]
    assert {one["language"] for one in asked} == {"en"}
    assert [one["input_features"].shape[-1] for one in asked] == [3000, 3000, 3100]


def test_transformers_wants_a_whisper(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(model_type="moonshine")))
    monkeypatch.setattr("liteasr.benchmark.backends.transformers.load_dense", lambda _: other)
    with pytest.raises(UnsupportedModelError, match="m is no Whisper"):
        open_backend(spec("transformers"))


@pytest.mark.parametrize(
    ("kind", "expected"), [("faster-whisper", "float32"), ("faster-whisper-int8", "int8")]
)
def test_faster_whisper_is_asked_to_be_greedy(
    kind: str, expected: str, fake: Fake, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    class Model:
        def __init__(self, path: str, **given: Any) -> None:
            asked.append({"path": path, **given})

        def feature_extractor(self, waveform: np.ndarray) -> np.ndarray:
            return np.ones((80, len(waveform) // 160), np.float32)

        def encode(self, features: np.ndarray) -> np.ndarray:
            asked.append({"shape": features.shape})
            return features

        def transcribe(self, waveform: np.ndarray, **given: Any) -> Any:
            asked.append(given)
            return iter([SimpleNamespace(text=" a"), SimpleNamespace(text=" b ")]), None

    Model.feature_extractor.nb_max_frames = 3000  # type: ignore[attr-defined]
    fake("faster_whisper", WhisperModel=Model)
    backend = open_backend(spec(kind, str(tmp_path)))
    assert isinstance(backend, StagedBackend)
    assert asked[0] == {
        "path": str(tmp_path), "device": "cpu", "compute_type": expected, "cpu_threads": 3,
    }  # fmt: skip
    backend.encode(backend.features(CLIP))
    assert asked[1] == {"shape": (80, 3000)}
    backend.first_token(CLIP)
    assert asked[2]["max_new_tokens"] == 1
    assert backend.transcribe(CLIP) == "a b"
    assert (asked[3]["beam_size"], asked[3]["temperature"], asked[3]["language"]) == (1, 0.0, "en")
    open_backend(spec(kind, "tiny-of-theirs"))
    assert asked[4]["path"] == "tiny-of-theirs"


def test_openai_whisper_is_asked_to_be_greedy(fake: Fake) -> None:
    asked: list[Any] = []

    class Model:
        dims = SimpleNamespace(n_mels=80)

        def encoder(self, features: torch.Tensor) -> None:
            asked.append(features.shape)

    def transcribe(model: Model, waveform: np.ndarray, **given: Any) -> dict[str, str]:
        asked.append(given)
        return {"text": " heard "}

    fake(
        "whisper",
        load_model=lambda name, device: Model(),
        pad_or_trim=lambda waveform: waveform,
        log_mel_spectrogram=lambda waveform, n_mels: torch.zeros(n_mels, 3000),
        DecodingOptions=lambda **given: given,
        decode=lambda model, mel, options: asked.append(options),
        transcribe=transcribe,
    )
    backend = open_backend(spec("openai-whisper", "base.pt"))
    assert isinstance(backend, StagedBackend)
    backend.encode(backend.features(CLIP))
    backend.first_token(CLIP)
    assert backend.transcribe(CLIP) == "heard"
    assert asked[0] == (1, 80, 3000)
    assert asked[1]["sample_len"] == 1
    assert (asked[2]["temperature"], asked[2]["language"]) == (0.0, "en")


def test_weights_are_copied_into_openai_whispers_own_module(
    fake: Fake, tiny: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every name of theirs is one of ours, and every tensor of ours is used."""
    from liteasr.sources.openai_whisper import rename_state

    ours = tiny.model.state_dict()
    short = {"self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key",
             "self_attn.v_proj": "attn.value", "self_attn.out_proj": "attn.out",
             "encoder_attn.q_proj": "cross_attn.query", "encoder_attn.k_proj": "cross_attn.key",
             "encoder_attn.v_proj": "cross_attn.value", "encoder_attn.out_proj": "cross_attn.out",
             "self_attn_layer_norm": "attn_ln", "encoder_attn_layer_norm": "cross_attn_ln",
             "final_layer_norm": "mlp_ln", "fc1": "mlp.0", "fc2": "mlp.2", "layers.": "blocks.",
             "embed_tokens": "token_embedding", "embed_positions.weight": "positional_embedding",
             "encoder.layer_norm": "encoder.ln_post",
             "decoder.layer_norm": "decoder.ln"}  # fmt: skip

    def theirs(name: str) -> str:
        name = name.removeprefix("model.")
        for ending in ("encoder_attn_layer_norm", "self_attn_layer_norm", *short):
            name = name.replace(ending, short[ending])
        return name

    blank = {theirs(name): torch.zeros_like(tensor) for name, tensor in ours.items()
             if name != "proj_out.weight"}  # fmt: skip
    assert {key for name in blank for key in rename_state({name: blank[name]})} >= set(ours) - {
        "proj_out.weight"
    }
    loaded: dict[str, torch.Tensor] = {}

    class Whisper:
        def __init__(self, dims: Any) -> None:
            self.dims = dims

        def state_dict(self) -> dict[str, torch.Tensor]:
            return dict(blank)

        def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
            loaded.update(state)

        def eval(self) -> "Whisper":
            return self

    package = fake("whisper")
    package.model = SimpleNamespace(  # type: ignore[attr-defined]
        Whisper=Whisper, ModelDimensions=lambda **given: SimpleNamespace(**given)
    )
    monkeypatch.setattr("liteasr.benchmark.backends.openai_whisper.load_dense", lambda _: tiny)
    backend: Any = open_backend(spec("openai-whisper", "whisper-tiny"))
    assert backend.model.dims.n_audio_state == 32
    for name, tensor in ours.items():
        if name != "proj_out.weight":
            torch.testing.assert_close(loaded[theirs(name)], tensor, rtol=0, atol=0)


def test_whisper_cpp_wants_a_file_of_its_own(fake: Fake, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    class Model:
        def __init__(self, path: str, **given: Any) -> None:
            asked.update(path=path, **given)

        def transcribe(self, waveform: np.ndarray) -> list[Any]:
            return [SimpleNamespace(text=" a "), SimpleNamespace(text="b")]

    fake("pywhispercpp")
    fake("pywhispercpp.model", Model=Model)
    with pytest.raises(SourceError, match="is no ggml file"):
        open_backend(spec("pywhispercpp", "whisper-base"))
    (tmp_path / "ggml.bin").write_text("")
    backend = open_backend(spec("pywhispercpp", str(tmp_path / "ggml.bin")))
    assert backend.transcribe(CLIP) == "a b"
    assert (asked["n_threads"], asked["language"]) == (3, "en")
    assert set(backend.unshown) == {"encoder_ms", "first_token_ms"}


def test_onnx_asr_takes_names_and_folders(fake: Fake, tmp_path: Path) -> None:
    asked: list[Any] = []

    class Model:
        def recognize(self, waveform: np.ndarray, **given: Any) -> str:
            asked.append(given)
            return " heard "

    def load(kind: str, path: str | None, **given: Any) -> Model:
        asked.append((kind, path, given["sess_options"].intra_op_num_threads))
        return Model()

    fake("onnx_asr", load_model=load)
    fake("onnxruntime", SessionOptions=SimpleNamespace)
    for model, expected in (
        ("nemo-canary-1b-v2", ("nemo-canary-1b-v2", None, 3)),
        (f"whisper-ort={tmp_path}", ("whisper-ort", str(tmp_path), 3)),
        (str(tmp_path), ("whisper", str(tmp_path), 3)),
    ):
        assert open_backend(spec("onnx-asr", model)).transcribe(CLIP) == "heard"
        assert asked[0] == expected
        assert ("language" in asked[1]) == ("whisper" in expected[0])
        asked.clear()


def test_moonshine_knows_its_architecture_by_the_folder(fake: Fake, tmp_path: Path) -> None:
    asked: list[Any] = []

    class Transcriber:
        def __init__(self, path: str, architecture: object) -> None:
            asked.append(architecture)

        def transcribe_without_streaming(self, waveform: list[float], rate: int) -> Any:
            asked.append((type(waveform), rate))
            return SimpleNamespace(lines=[SimpleNamespace(text=" a"), SimpleNamespace(text="b ")])

    architectures = {"TINY": 0, "BASE": 1, "TINY_STREAMING": 2}
    fake("moonshine_voice", ModelArch=architectures, Transcriber=Transcriber)
    for name in ("base-en", "tiny-streaming-en", "other"):
        (tmp_path / name).mkdir()
    assert open_backend(spec("moonshine", str(tmp_path / "base-en"))).transcribe(CLIP) == "a b"
    open_backend(spec("moonshine", str(tmp_path / "tiny-streaming-en")))
    assert asked == [1, (list, 16_000), 2]
    with pytest.raises(SourceError, match=r"no folder of \.ort files"):
        open_backend(spec("moonshine", "whisper-base"))
    with pytest.raises(SourceError, match="should begin with one of tiny-streaming"):
        open_backend(spec("moonshine", str(tmp_path / "other")))
