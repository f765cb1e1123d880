"""`import liteasr` is enough for transformers to open our checkpoints, in either order."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSpeechSeq2Seq

import liteasr
from liteasr.checkpoint.auto_classes import LiteASRForSpeechSeq2Seq
from liteasr.errors import SourceError
from liteasr.nn import LowRankLinear
from liteasr.plan import ThresholdConfig
from tiny_whisper import tiny_whisper

LAYOUTS = ("liteasr", "lite-whisper")


@pytest.fixture(scope="module")
def saved(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    config = ThresholdConfig(attention=0.97, mlp=0.9)
    lite = liteasr.compress(tiny_whisper(), audio=recordings, config=config)
    folder = tmp_path_factory.mktemp("saved")
    return {layout: lite.save(folder / layout, layout=layout) for layout in LAYOUTS}  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pipelines_run_on_a_saved_directory(saved: dict[str, Path], layout: str) -> None:
    from transformers import pipeline

    recognizer = pipeline("automatic-speech-recognition", model=str(saved[layout]))
    assert recognizer.type == "seq2seq_whisper"
    assert any(isinstance(module, LowRankLinear) for module in recognizer.model.modules())
    assert isinstance(recognizer(np.zeros(8_000, dtype=np.float32))["text"], str)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("options", "dtype", "attention"),
    [
        ({}, torch.float32, "sdpa"),
        ({"dtype": torch.float16, "device_map": "cpu"}, torch.float16, "sdpa"),
        ({"dtype": "bfloat16", "device_map": {"": "cpu"}}, torch.bfloat16, "sdpa"),
        ({"dtype": "auto", "device_map": torch.device("cpu")}, torch.float32, "sdpa"),
        ({"attn_implementation": "eager", "use_safetensors": True}, torch.float32, "eager"),
    ],
)
def test_auto_model_honors_options(
    saved: dict[str, Path], layout: str, options: dict[str, Any], dtype: Any, attention: str
) -> None:
    opened = AutoModelForSpeechSeq2Seq.from_pretrained(saved[layout], **options)
    assert {parameter.dtype for parameter in opened.parameters()} == {dtype}
    assert opened.config._attn_implementation == attention
    assert opened.device.type == "cpu"


def test_auto_keeps_the_dtype_and_finds_the_device(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite = liteasr.load(saved["liteasr"])
    lite.speech.model.half()
    half = lite.save(tmp_path / "half")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    opened = AutoModelForSpeechSeq2Seq.from_pretrained(half, dtype="auto", device_map="auto")
    assert (opened.dtype, opened.device.type) == (torch.float16, "meta")


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"dtype": "sparkle"}, "dtype must be .* got 'sparkle'"),
        ({"dtype": torch.int8}, r"dtype must be .* got torch\.int8"),
        ({"device_map": "balanced"}, "one device such as 'cuda:0', got 'balanced'"),
        ({"device_map": {"model": "cpu"}}, "one device such as 'cuda:0', got {'model'"),
        ({"attn_implementation": "sparkle"}, "sparkle"),
        ({"output_loading_info": True}, "output_loading_info cannot be honored"),
        ({"load_in_8bit": True, "subfolder": "x"}, "load_in_8bit, subfolder cannot be honored"),
    ],
)
def test_options_that_cannot_be_honored_are_refused(
    saved: dict[str, Path], options: dict[str, Any], finding: str
) -> None:
    with pytest.raises(ValueError, match=finding):
        LiteASRForSpeechSeq2Seq.from_pretrained(saved["liteasr"], **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hub_ids_open_from_the_cache_of_the_hub(
    saved: dict[str, Path], layout: str, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--someone--lite"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "v2").write_text(commit)
    shutil.copytree(saved[layout], repository / "snapshots" / commit)
    there: dict[str, Any] = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    opened = AutoModelForSpeechSeq2Seq.from_pretrained("someone/lite", revision="v2", **there)
    assert any(isinstance(module, LowRankLinear) for module in opened.modules())
    with pytest.raises(SourceError, match="someone/lite"):
        LiteASRForSpeechSeq2Seq.from_pretrained("someone/lite", revision="v3", **there)


def test_the_hub_is_asked_for_what_was_asked_for(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def download(ref: str, **options: Any) -> str:
        asked.append((ref, options))
        return str(saved["liteasr"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    wanted = {"revision": "main", "cache_dir": "c", "local_files_only": True, "token": "t"}
    LiteASRForSpeechSeq2Seq.from_pretrained("someone/lite", dtype="float16", **wanted)
    assert asked == [("someone/lite", wanted)]


def test_auto_model_opens_the_published_layout(saved: dict[str, Path]) -> None:
    from transformers import AutoModel

    opened = AutoModel.from_pretrained(saved["lite-whisper"])
    assert type(opened).__name__ == "WhisperForConditionalGeneration"


def test_the_wrong_task_is_refused(saved: dict[str, Path]) -> None:
    from transformers import AutoModelForCTC

    with pytest.raises(ValueError, match="not a ForCTC"):
        AutoModelForCTC.from_pretrained(saved["liteasr"])


@pytest.mark.parametrize(
    "imports",
    [
        "import liteasr, transformers",
        "import transformers, liteasr",
        "from transformers import pipeline; import liteasr",
        "import liteasr; from transformers import WhisperConfig",
        "from transformers.models.auto import modeling_auto; import liteasr",
    ],
)
def test_the_order_of_imports_does_not_matter(saved: dict[str, Path], imports: str) -> None:
    code = (
        f"{imports}\n"
        "from transformers import AutoConfig, AutoModelForSpeechSeq2Seq as Auto\n"
        f"for path in {[str(path) for path in saved.values()]!r}:\n"
        "    print(AutoConfig.from_pretrained(path).model_type, type(Auto.from_pretrained(path)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("WhisperForConditionalGeneration") == 2
