"""FLOPs of an encoder, counted while it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from liteasr.audio import SAMPLE_RATE_HZ
from liteasr.encoders import adapter_for, run_encoder
from liteasr.sources import SpeechModel

__all__ = ["count_encoder_flops"]


def count_encoder_flops(speech: SpeechModel) -> float:
    """Count the matrix products, convolutions and attentions of one whole window.

    A multiplication and an addition are two. Norms, activations and biases do not count.
    """
    adapter = adapter_for(speech.model)
    silence = np.zeros(int(adapter.window_s(speech.processor) * SAMPLE_RATE_HZ), np.float32)
    window = next(adapter.inputs(speech.processor, silence))
    # the CPU's attention is missing in PyTorch's own table
    fused = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention}
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        run_encoder(adapter.encoder(speech.model), window)
    return float(counter.get_total_flops())


def _fused_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """From the shapes of the three."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]
