"""The reference keeps every activation and takes its SVD; we stream moments. Same ranks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from liteasr.calibration import calibrate
from liteasr.corpus import load_corpus
from liteasr.encoders import adapter_for
from liteasr.lowrank import rank_for_share
from liteasr.plan import spectra_of
from liteasr.sources import fetch, load_dense

pytestmark = pytest.mark.real

LAYERS = (
    "layers.0.self_attn.k_proj",
    "layers.1.self_attn.q_proj",
    "layers.1.self_attn.v_proj",
    "layers.2.self_attn.out_proj",
    "layers.2.fc1",
    "layers.3.fc2",
)
SHARES = (0.95, 0.98, 0.99, 0.995, 0.999)


@contextmanager
def keeping_outputs(encoder: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    stored: dict[str, list[Tensor]] = {name: [] for name in LAYERS}
    handles = [
        encoder.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, kept=stored[name]: kept.append(output[0].double())
        )
        for name in LAYERS
    ]
    yield stored
    for handle in handles:
        handle.remove()


def test_real_layers_get_the_same_ranks() -> None:
    speech = load_dense("whisper-tiny.en")
    corpus = load_corpus(sorted(fetch("audioeval").glob("en/*.wav")))
    spectra = spectra_of(speech, calibrate(speech, corpus, frames="all"), weighed=False)
    adapter = adapter_for(speech.model)
    with keeping_outputs(speech.model.get_encoder()) as stored, torch.inference_mode():
        for utterance in corpus:
            for window in adapter.inputs(speech.processor, utterance.load()):
                speech.model.get_encoder()(**window.tensors)
    for name in LAYERS:
        outputs = torch.cat(stored[name])
        variances = torch.linalg.svdvals(outputs - outputs.mean(0)).square() / len(outputs)
        ours = [rank_for_share(spectra[name].variances, share) for share in SHARES]
        theirs = [rank_for_share(variances, share) for share in SHARES]
        assert ours == theirs, name
