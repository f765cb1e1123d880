"""Comparing an exported file with the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders import adapter_for, encode
from liteasr.errors import ExportError
from liteasr.export.precision import Precision
from liteasr.sources import SpeechModel

__all__ = ["TOLERANCES", "Agreement", "Disagreement", "Window", "compare", "probe_windows"]

Window = Float32[np.ndarray, "batch n_mels frames"]

# of the whole output, relative: float32 loses roundings only, int8 what its 255 steps lose
TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "int8": 0.2}
SHORT_FRAMES = 333  # odd, and no multiple of anything that a graph may have fixed by mistake


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far an exported file is from the model.

    Attributes:
        largest: Largest absolute difference of one number.
        relative: ‖exported - model‖ / ‖model‖ over all outputs.
    """

    largest: float
    relative: float

    def require(self, tolerance: float) -> None:
        """Refuse an export that is further away than that.

        Raises:
            ExportError: It is, or the numbers are not finite.
        """
        if not self.relative <= tolerance:
            raise ExportError(
                f"the exported file differs from the model: relative error {self.relative:.2g}, "
                f"the limit is {tolerance:g}; nothing was written"
            )


class Disagreement:
    """Gathers differences over several outputs."""

    def __init__(self) -> None:
        self._largest = self._missed = self._whole = 0.0

    def add(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Count one output."""
        difference = (found - expected).astype(np.float64)
        self._largest = max(self._largest, float(np.abs(difference).max()))
        self._missed += float(np.square(difference).sum())
        self._whole += float(np.square(expected, dtype=np.float64).sum())

    @property
    def total(self) -> Agreement:
        """Over all outputs so far."""
        relative = float(np.sqrt(self._missed / self._whole))
        return Agreement(largest=self._largest, relative=relative)


def compare(speech: SpeechModel, session: Any, windows: Iterable[Window]) -> Agreement:
    """Run both encoders on the same windows."""
    encoder = adapter_for(speech.model).encoder(speech.model)
    like = next(encoder.parameters())
    disagreement = Disagreement()
    for window in windows:
        tensor = torch.from_numpy(window).to(like.device, like.dtype)
        with torch.inference_mode():
            states = encode(encoder, {"input_features": tensor})
        expected = states.to("cpu", torch.float32).numpy()
        (found,) = session.run(None, {session.get_inputs()[0].name: window})
        disagreement.add(found, expected)
    return disagreement.total


def probe_windows(speech: SpeechModel) -> tuple[Window, Window]:
    """One full window and two short ones at once, of a noise that swells like syllables."""
    adapter = adapter_for(speech.model)
    seconds = adapter.window_s(speech.processor)
    time = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).standard_normal(time.size)
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
    swelling = np.clip(np.sin(2 * np.pi * 3 * time), 0, None) * (time < 0.8 * seconds)
    waveform = (0.05 * swelling * (voice + 0.3 * noise) + 1e-4 * noise).astype(np.float32)
    (window,) = adapter.inputs(speech.processor, waveform)
    full = np.ascontiguousarray(window.tensors["input_features"].float().numpy())
    half = full.shape[-1] // 2
    size = min(SHORT_FRAMES, half - 1 + half % 2)  # odd as well where windows are short
    short = np.concatenate([full[..., :size], full[..., size : 2 * size]])
    return full, np.ascontiguousarray(short)
