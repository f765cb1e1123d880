"""`import liteasr` is enough for transformers to open our checkpoints, in either order."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import liteasr
from liteasr.nn import LowRankLinear
from liteasr.plan import ThresholdConfig

LAYOUTS = ("liteasr", "lite-whisper")


@pytest.fixture
def saved(tiny_speech, recordings: Path, tmp_path: Path) -> dict[str, Path]:  # type: ignore[no-untyped-def]
    config = ThresholdConfig(attention=0.97, mlp=0.9)
    lite = liteasr.compress(tiny_speech, audio=recordings, config=config)
    return {layout: lite.save(tmp_path / layout, layout=layout) for layout in LAYOUTS}  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pipelines_run_on_a_saved_directory(saved: dict[str, Path], layout: str) -> None:
    from transformers import pipeline

    recognizer = pipeline("automatic-speech-recognition", model=str(saved[layout]))
    assert recognizer.type == "seq2seq_whisper"
    assert any(isinstance(module, LowRankLinear) for module in recognizer.model.modules())
    assert isinstance(recognizer(np.zeros(8_000, dtype=np.float32))["text"], str)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_auto_model_honors_dtype(saved: dict[str, Path], layout: str) -> None:
    import torch
    from transformers import AutoModelForSpeechSeq2Seq

    opened = AutoModelForSpeechSeq2Seq.from_pretrained(
        saved[layout], dtype=torch.float16, device_map="cpu"
    )
    assert opened.dtype == torch.float16


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
