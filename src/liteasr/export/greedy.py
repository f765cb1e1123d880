"""A folder with the two graphs that decode greedily, compared with the model before it appears.

::

    memory.onnx    what a window's tokens read of the encoder, made once
    step.onnx      one token after another
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from liteasr.atomic import atomic_directory, made_once
from liteasr.export.decoder import STEPS, model_says, require_decoder
from liteasr.export.graph import Graph
from liteasr.export.kept import GREEDY_LAYOUT, MEMORY, STEP
from liteasr.export.precision import Precision
from liteasr.export.session import open_session
from liteasr.export.verification import TOLERANCES, Agreement, Disagreement
from liteasr.export.whisper_decoder import cache_names
from liteasr.export.whisper_steps import whisper_memory_graph, whisper_step_graph
from liteasr.sources import SpeechModel
from liteasr.sources.bundled import cache_directory

__all__ = ["greedy_directory", "write_greedy_decoder"]


def greedy_directory(speech: SpeechModel, fingerprint: str) -> Path:
    """Give a folder of a model's decoder in int8, written the first time.

    Args:
        speech: A Whisper, dense or compressed.
        fingerprint: Of its decoder, see `decoder_fingerprint`.

    Raises:
        ExportError: A layer cannot be exported, or the files differ from the model.
        MissingDependencyError: onnx or onnxruntime is not installed.
        StorageError: The cache folder cannot be written.
        UnsupportedModelError: The model is no Whisper.
    """
    place = (
        cache_directory() / "greedy" / f"{fingerprint[:32]}-{version('liteasr')}-{GREEDY_LAYOUT}"
    )
    return made_once(place, lambda: write_greedy_decoder(speech, place))


def write_greedy_decoder(
    speech: SpeechModel, directory: str | os.PathLike[str], *, precision: Precision = "int8"
) -> Agreement:
    """Write a decoder for one token after another, see `whisper_steps`.

    Args:
        speech: A Whisper, dense or compressed.
        directory: Where; must not exist or be empty.
        precision: ``int8``, with a vocabulary in 4 bits that 8 bits correct, or ``float32``.

    Returns:
        How far the probabilities of tokens are from the model's.

    Raises:
        ValueError: There is no such precision.
        ExportError: A layer cannot be exported, or the files differ from the model.
        MissingDependencyError: onnx or onnxruntime is not installed.
        StorageError: Something is there already, or the disk refused.
        UnsupportedModelError: The model is no Whisper.
    """
    require_decoder(speech)
    properties = {
        "model": speech.name,
        "precision": precision,
        "liteasr_version": version("liteasr"),
    }
    graphs: dict[str, Graph] = {
        MEMORY: whisper_memory_graph(speech.model, precision),
        STEP: whisper_step_graph(speech.model, precision),
    }
    with atomic_directory(directory) as folder:
        for name, graph in graphs.items():
            graph.save(folder / name, properties=properties)
        threads = torch.get_num_threads()
        memory, step = (open_session(folder / name, threads=threads) for name in graphs)
        agreement = _compare(speech, memory, step)
        agreement.require(TOLERANCES[precision])
        del memory, step  # they hold the files, which some systems do not let go elsewhere then
    return agreement


def _compare(speech: SpeechModel, memory: Any, step: Any) -> Agreement:
    """Probabilities after a prompt, after one more token and after several at once.

    Logits would be dominated by a constant that softmax does not see.
    """
    config = speech.model.config
    states, said, logits = model_says(speech)
    tokens, expected = said.numpy(), logits.softmax(-1).numpy()
    names = cache_names(config.decoder_layers)
    read = [name for name in names if ".encoder." in name]
    own = [name for name in names if ".decoder." in name]
    heads = config.decoder_attention_heads
    empty = np.zeros((len(tokens), heads, 0, config.d_model // heads), np.float32)
    given = {"encoder_hidden_states": states.numpy()}
    cache = dict.fromkeys(own, empty) | dict(zip(read, memory.run(read, given), strict=True))
    disagreement = Disagreement()
    for start, stop in STEPS:
        found, *present = step.run(None, {"input_ids": tokens[:, start:stop], **cache})
        cache |= dict(zip(own, present, strict=True))
        disagreement.add(torch.from_numpy(found).softmax(-1).numpy(), expected[:, stop - 1])
    return disagreement.total
