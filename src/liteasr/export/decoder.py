"""A decoder as one ONNX file, compared with the model before anyone sees it."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liteasr.encoders import adapter_for, encode
from liteasr.errors import UnsupportedModelError
from liteasr.export.precision import Precision, products_for
from liteasr.export.verification import TOLERANCES, Agreement, Disagreement, probe_windows
from liteasr.export.whisper_decoder import USE_CACHE, cache_names, whisper_decoder_graph
from liteasr.export.writing import write_verified
from liteasr.sources import SpeechModel

__all__ = ["STEPS", "export_decoder", "model_says", "require_decoder"]

STEPS = ((0, 4), (4, 5), (5, 8))  # a prompt, one token, several at once


def export_decoder(
    speech: SpeechModel,
    path: str | os.PathLike[str],
    *,
    precision: Precision = "float32",
    tolerance: float | None = None,
    external_from_bytes: int | None = None,
) -> Agreement:
    """Write a decoder with its cache of keys and values, in the merged layout.

    Args:
        speech: The model.
        path: Name of the file, which is replaced if there is one.
        precision: ``float32``, or ``int8`` for weights and activations of all products.
        tolerance: Largest relative error of the logits, as for `export_encoder`.
        external_from_bytes: From this size on, 256 MiB where left out, weights go into a second
            file, ``NAME_data``.

    Raises:
        ValueError: There is no such precision.
        ExportError: A layer cannot be exported, or the file differs from the model.
        MissingDependencyError: onnx or onnxruntime is not installed.
        StorageError: The disk refused.
        UnsupportedModelError: No graph is known for this architecture.
    """
    products = products_for(precision)
    require_decoder(speech)
    graph = whisper_decoder_graph(speech.model, products)
    properties = {
        "model": speech.name,
        "precision": precision,
        "liteasr_version": version("liteasr"),
    }
    return write_verified(
        graph,
        Path(path),
        lambda session: _compare(speech, session),
        properties=properties,
        tolerance=TOLERANCES[precision] if tolerance is None else tolerance,
        external_from_bytes=external_from_bytes,
    )


def require_decoder(speech: SpeechModel) -> None:
    """Check that there are graphs for a model's decoder.

    Raises:
        UnsupportedModelError: There are none.
    """
    if (kind := speech.model.config.model_type) != "whisper":
        raise UnsupportedModelError(
            f"{speech.name} is a {kind!r} model: only decoders of 'whisper' can be exported"
        )


def _compare(speech: SpeechModel, session: Any) -> Agreement:
    """Logits of a few tokens in three steps, with the cache, against all of them at once."""
    config = speech.model.config
    states, tokens, expected = (value.numpy() for value in model_says(speech))
    names = cache_names(config.decoder_layers)
    heads = config.decoder_attention_heads
    empty = np.zeros((0, heads, 0, config.d_model // heads), np.float32)
    cache = dict.fromkeys(names, empty)
    disagreement = Disagreement()
    for start, stop in STEPS:
        logits, *present = session.run(
            None,
            {
                "input_ids": tokens[:, start:stop],
                "encoder_hidden_states": states,
                USE_CACHE: np.array([start > 0]),
                **cache,
            },
        )
        made = zip(names, present, strict=True)
        cache |= {name: value for name, value in made if value.shape[0]}
        disagreement.add(logits, expected[:, start:stop])
    return disagreement.total


@torch.inference_mode()
def model_says(speech: SpeechModel) -> tuple[Tensor, Tensor, Tensor]:
    """What the encoder gives for two windows, what the model says of them, and its logits there.

    Tokens drawn at random are no text: a trained decoder is so unsteady there that the roundings of
    int8 moved its logits by a quarter, and by a fortieth on sentences.
    """
    model = speech.model
    window = torch.from_numpy(probe_windows(speech)[1]).to(model.device, model.dtype)
    states = encode(adapter_for(model).encoder(model), {"input_features": window})
    start = model.config.decoder_start_token_id
    tokens = torch.full((len(states), 1), start, device=states.device)
    while True:
        logits = model(encoder_outputs=(states,), decoder_input_ids=tokens).logits
        if tokens.shape[1] == STEPS[-1][1]:
            return states.cpu().float(), tokens.cpu(), logits.cpu().float()
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
