from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import liteasr
from liteasr.checkpoint import CompressedModel, load
from liteasr.encoders import adapter_for, run_encoder
from liteasr.errors import CheckpointError
from liteasr.nn import LowRankSelfAttention
from liteasr.plan import BudgetConfig
from liteasr.sources import SpeechModel


@pytest.fixture
def make_speech(make_short_speech: Callable[..., SpeechModel]) -> Callable[..., SpeechModel]:
    return make_short_speech


@pytest.fixture
def lite(tiny_speech: SpeechModel, recordings: Path) -> CompressedModel:
    config = BudgetConfig(keep=0.6, multiple_of=8, head_multiple_of=4)
    made = liteasr.compress(tiny_speech, audio=recordings, config=config)
    assert any(layer.joint for layer in made.plan), "the fixture must have narrower heads"
    assert any(layer.by_unit for layer in made.plan), "the fixture must have fewer units"
    return made


def test_joint_forms_are_saved_and_loaded(lite, tmp_path: Path, babble) -> None:  # type: ignore[no-untyped-def]
    again = load(lite.save(tmp_path / "lite"))
    assert again.plan == lite.plan
    adapter = adapter_for(lite.speech.model)
    (window,) = adapter.inputs(lite.speech.processor, babble(9, 3.0))
    expected, found = (run_encoder(m.speech.model.get_encoder(), window) for m in (lite, again))
    torch.testing.assert_close(found, expected)
    encoder = again.speech.model.get_encoder()
    assert any(isinstance(module, LowRankSelfAttention) for module in encoder.modules())


def test_the_published_layout_cannot_hold_them(lite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CheckpointError, match="layout knows only chains; save in our own"):
        lite.save(tmp_path / "lite", layout="lite-whisper")
    assert not list(tmp_path.iterdir())
