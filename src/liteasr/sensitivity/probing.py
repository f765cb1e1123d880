"""How much the encoder's output moves when one layer alone is truncated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from liteasr.corpus import Corpus
from liteasr.encoders import EncoderInput, Target, adapter_for, encoder_fingerprint, run_encoder
from liteasr.errors import CalibrationError
from liteasr.lowrank import Spectrum, break_even_rank
from liteasr.progress import Track, silent
from liteasr.sensitivity.artefact import Sensitivity
from liteasr.sources import SpeechModel

__all__ = ["probe"]

PROBE_SHARE = 0.5  # of the break-even rank: where plans that matter cut


def probe(
    speech: SpeechModel,
    spectra: Mapping[str, Spectrum],
    corpus: Corpus,
    *,
    windows: int = 6,
    track: Track = silent,
) -> Sensitivity:
    """Measure each layer's weight by truncating it, and only it.

    w_l = (‖Δ encoder output‖² / ‖encoder output‖²) / ‖y_l - ŷ_l‖², where ŷ_l is the layer's
    output projected on half its break-even rank and ‖y_l - ŷ_l‖² the mean energy a frame loses.
    A layer cut to rank k is then expected to cost w_l Σ_{i>k} λ_i. No labels, no gradients, one
    run of the encoder per layer and window.

    Args:
        speech: The model, not compressed.
        spectra: What `spectra_of` gave.
        corpus: Unlabelled audio; the first window of the first ``windows`` utterances is used.
        windows: How many windows to average over.
        track: Shows progress.

    Raises:
        ValueError: ``windows`` is below 1.
        CalibrationError: The encoder's output is NaN or Inf.
    """
    if windows < 1:
        raise ValueError(f"windows must be at least 1, got {windows}")
    adapter = adapter_for(speech.model)
    encoder = adapter.encoder(speech.model)
    targets = adapter.targets(encoder)
    chosen = corpus.utterances[:windows]
    inputs = [next(adapter.inputs(speech.processor, u.load())) for u in chosen]
    dense = [run_encoder(encoder, window) for window in inputs]
    if not all(torch.isfinite(output).all() for output in dense):
        raise CalibrationError("the encoder's output holds NaN or Inf: check the weights")
    weights = {
        target.name: _weight(encoder, target, spectra[target.name], inputs, dense)
        for target in track(targets, description="Probing", total=len(targets))
    }
    return Sensitivity(
        model=speech.name,
        encoder_sha256=encoder_fingerprint(speech.model),
        windows=len(inputs),
        weights=weights,
    )


def _weight(
    encoder: nn.Module,
    target: Target,
    spectrum: Spectrum,
    inputs: list[EncoderInput],
    dense: list[Tensor],
) -> float:
    limit = break_even_rank(target.in_features, target.out_features)
    rank = max(1, int(PROBE_SHARE * limit))
    moved = 0.0
    with truncating(encoder.get_submodule(target.name), spectrum, rank) as energies:
        for window, output in zip(inputs, dense, strict=True):
            change = run_encoder(encoder, window) - output
            moved += float(change.double().square().sum() / output.double().square().sum())
    lost = sum(energies)
    return moved / lost if lost > 0 else 0.0


@contextmanager
def truncating(layer: nn.Module, spectrum: Spectrum, rank: int) -> Iterator[list[float]]:
    """Project a layer's output on its leading components while the body runs.

    Yields a list that receives, for each run, the mean energy that a frame lost. The hook is
    removed on exit, also after an error.
    """
    energies: list[float] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        mean = spectrum.mean.to(output)
        components = spectrum.components[:, :rank].to(output)
        kept = mean + (output - mean) @ components @ components.T
        energies.append(float((output - kept).detach().double().square().sum(-1).mean()))
        return kept

    handle = layer.register_forward_hook(hook)
    try:
        yield energies
    finally:
        handle.remove()
