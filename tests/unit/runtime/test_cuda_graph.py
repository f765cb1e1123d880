"""Laws of recordings: equal results, no Python, no allocation, and only as many as are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kernel_device import DEVICE
from liteasr.encoders import WhisperAdapter, encode
from liteasr.errors import KernelError
from liteasr.runtime.cuda_graph import CudaGraph
from liteasr.runtime.gpu_encoder import GpuEncoder
from liteasr.sources import SpeechModel
from recorded_gpu import Recorded


@pytest.mark.usefixtures("gpu")
def test_a_replay_is_the_function_of_its_input_and_runs_no_python() -> None:
    function = Recorded(lambda x: 3 * x + 1)
    graph = CudaGraph(function, torch.zeros(2, 5, device=DEVICE))
    recorded_calls = function.calls
    outputs = []
    for _ in range(3):
        x = torch.randn(2, 5, device=DEVICE)
        outputs.append(graph(x))
        torch.testing.assert_close(outputs[-1], 3 * x + 1)
    assert function.calls == recorded_calls
    assert len({output.data_ptr() for output in outputs}) == 1, "no call allocates"


@pytest.mark.usefixtures("gpu")
def test_another_shape_or_dtype_is_refused() -> None:
    graph = CudaGraph(Recorded(torch.square), torch.zeros(2, 5, device=DEVICE))
    with pytest.raises(ValueError, match=r"float32 \[2, 5\], got torch.float32 \[2, 6\]"):
        graph(torch.zeros(2, 6, device=DEVICE))
    with pytest.raises(ValueError, match=r"got torch\.float16 \[2, 5\]: record another one"):
        graph(torch.zeros(2, 5, device=DEVICE, dtype=torch.float16))


def test_a_cpu_is_refused(tiny_speech: SpeechModel) -> None:
    with pytest.raises(KernelError, match="need an NVIDIA GPU, this is on cpu"):
        CudaGraph(torch.square, torch.zeros(2))
    with pytest.raises(KernelError, match="need an NVIDIA GPU, this is on cpu"):
        GpuEncoder(tiny_speech)


@pytest.mark.usefixtures("gpu")
def test_batches_of_any_size_are_encoded(
    make_speech: Callable[..., SpeechModel], recorded_encoder: list[Recorded]
) -> None:
    speech = make_speech(blocks=1)
    speech.model.to(DEVICE)
    encoder = WhisperAdapter().encoder(speech.model)
    fast = GpuEncoder(speech, batch_sizes=(1, 3))
    for count in (1, 2, 3, 7):
        features = np.random.default_rng(count).normal(size=(count, 80, 12)).astype(np.float32)
        tensor = torch.from_numpy(features).to(DEVICE)
        with torch.inference_mode():
            expected = encode(encoder, {"input_features": tensor}).cpu().numpy()
        np.testing.assert_allclose(fast.encode(features), expected, rtol=1e-3, atol=1e-4)
    assert len(recorded_encoder) == 2, "one recording for each size"
    assert fast.name == "cuda-graph:tiny"


@pytest.mark.usefixtures("gpu")
def test_a_result_outlives_the_next_call_and_old_recordings_go(
    make_speech: Callable[..., SpeechModel], recorded_encoder: list[Recorded]
) -> None:
    speech = make_speech(blocks=1)
    speech.model.to(DEVICE)
    fast = GpuEncoder(speech, batch_sizes=(1,), recordings=2)
    first = fast(torch.zeros(1, 80, 8))
    kept = first.clone()
    for frames in (8, 12, 8, 16, 8):
        fast(torch.ones(1, 80, frames))
    torch.testing.assert_close(first, kept, rtol=0, atol=0)
    assert len(recorded_encoder) == 3, "8 was used again before 16 made 12 go"
    fast(torch.ones(1, 80, 12))
    assert len(recorded_encoder) == 4


@pytest.mark.parametrize("options", [{"batch_sizes": ()}, {"batch_sizes": (0,)}, {"recordings": 0}])
def test_nothing_to_record_is_refused(options: dict[str, Any], tiny_speech: SpeechModel) -> None:
    with pytest.raises(ValueError, match="must be at least 1, got"):
        GpuEncoder(tiny_speech, **options)
