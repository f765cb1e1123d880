"""Fixtures shared by every floor: tiny models for laws, real ones (cached) for truth."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import kernel_device  # noqa: F401
from liteasr.sources import SpeechModel
from tiny_audio import write_wav
from tiny_whisper import tiny_whisper

MakeLinear = Callable[..., tuple[nn.Linear, torch.Tensor]]
MakeWave = Callable[[int, float], np.ndarray]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def rank_deficient_linear() -> MakeLinear:
    """A layer and inputs whose centred output spans exactly `rank` directions."""

    def make(
        rank: int, in_features: int = 24, out_features: int = 40, bias: bool = True
    ) -> tuple[nn.Linear, torch.Tensor]:
        layer = nn.Linear(in_features, out_features, bias=bias)
        directions = torch.randn(rank, in_features)
        inputs = torch.randn(512, rank) @ directions + torch.randn(in_features)
        return layer, inputs

    return make


@pytest.fixture
def make_speech() -> Callable[..., SpeechModel]:
    return tiny_whisper


@pytest.fixture
def make_short_speech() -> Callable[..., SpeechModel]:
    """The same with windows of 5 s, to take the place of `make_speech` where many are encoded."""
    return partial(tiny_whisper, window_s=5)


@pytest.fixture
def tiny_speech(make_speech: Callable[..., SpeechModel]) -> SpeechModel:
    """A random Whisper of width 64 with two blocks; safe to change."""
    return make_speech()


@pytest.fixture(scope="session")
def babble() -> MakeWave:
    """Waveforms that are not speech but are not boring either: chirps in noise."""

    def make(seed: int, duration_s: float) -> np.ndarray:
        rng = np.random.default_rng(seed)
        time = np.arange(int(duration_s * 16_000)) / 16_000
        pitch = rng.uniform(100, 400) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(1, 5) * time))
        tone = np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)
        gate = np.sin(2 * np.pi * rng.uniform(0.5, 3) * time) > -0.3
        return (0.3 * tone * gate + 0.01 * rng.standard_normal(len(time))).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory, babble: MakeWave) -> Path:
    """A folder of six short recordings, 16-bit wav at 16 kHz."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(6):
        write_wav(folder / f"clip-{seed}.wav", babble(seed, 1.5 + seed / 2))
    return folder
