"""How far the encoder's output moves when one layer, or one attention, alone is truncated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from liteasr.corpus import Corpus
from liteasr.encoders import (
    PADDING_STRIDE,
    EncoderAdapter,
    EncoderInput,
    adapter_for,
    audio_positions,
    encoder_fingerprint,
    entering_positions,
    readout_metric,
    run_encoder,
)
from liteasr.errors import CalibrationError
from liteasr.lowrank import Spectra, break_even_rank
from liteasr.progress import Track, silent
from liteasr.sensitivity.artefact import Sensitivity, query_key_of, value_output_of
from liteasr.sensitivity.truncation import (
    truncating,
    truncating_query_key,
    truncating_value_output,
)
from liteasr.sources import SpeechModel

__all__ = ["probe"]

BEFORE = -1  # the first block
PROBE_SHARES = (0.6, 0.3)  # of the break-even rank, or of the width of a head

Cut = Callable[[int], AbstractContextManager[None]]


def probe(
    speech: SpeechModel,
    spectra: Spectra,
    corpus: Corpus,
    *,
    windows: int = 3,
    track: Track = silent,
) -> Sensitivity:
    """Measure how much each layer matters by truncating it, and only it; each attention too.

    A layer's output is projected on two shares of its break-even rank, the heads of an attention
    are cut to as much of their width, scores and values one after the other. Each time the
    encoder's output moves by ‖M Δ‖² / ‖M y‖² with M the `readout_metric`: what the decoder does
    not read does not count, and positions of padding count a quarter. `Sensitivity.loss` joins the
    points. No labels, no gradients; what comes before the layer is computed once, where the
    encoder's blocks are known.

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
    utterances = corpus.utterances[:windows]
    inputs = [next(adapter.inputs(speech.processor, u.load())) for u in utterances]
    metric = readout_metric(speech.model).T.to(next(encoder.parameters()).device)
    dense = [_Dense(encoder, adapter, window, metric) for window in inputs]
    trials = list(_trials(speech, encoder, spectra))
    curves = {}
    for trial in track(trials, description="Probing", total=len(trials)):
        points = []
        for rank in sorted({max(1, int(share * trial.width)) for share in PROBE_SHARES})[::-1]:
            with trial.cut(rank), torch.inference_mode():
                moved = [window.moved(adapter, trial.block) for window in dense]
            points.append((float(trial.energies[rank:].sum()), sum(moved) / len(moved)))
        curves[trial.name] = tuple(points)
    return Sensitivity(
        model=speech.name,
        encoder_sha256=encoder_fingerprint(speech.model),
        windows=len(inputs),
        curves=curves,
    )


class _Dense:
    """What the untouched encoder makes of one window: its output, and what enters every block."""

    def __init__(
        self, encoder: nn.Module, adapter: EncoderAdapter, window: EncoderInput, metric: Tensor
    ) -> None:
        self.encoder, self.window, self.metric = encoder, window, metric
        self.entering_positions = entering_positions(adapter, encoder)
        self.entering: list[Tensor] = []
        with ExitStack() as hooks:
            for name in adapter.blocks(encoder):
                hook = encoder.get_submodule(name).register_forward_pre_hook(
                    lambda module, inputs: self.entering.append(inputs[0]),
                    prepend=True,  # before positions are pooled, which `run_from` does again
                )
                hooks.enter_context(hook)
            output = run_encoder(encoder, window)
        if not torch.isfinite(output).all():
            raise CalibrationError("the encoder's output holds NaN or Inf: check the weights")
        self.read = output.float() @ metric

    def moved(self, adapter: EncoderAdapter, block: int) -> float:
        """How far the output is from what it was, with a change in a block or after it.

        A block below 0 is what comes before the first.
        """
        if self.entering and block >= 0:
            output = adapter.run_from(self.encoder, block, self.entering[block])
        else:
            output = run_encoder(self.encoder, self.window)
        difference = output.float() @ self.metric - self.read
        return self._energy(difference) / self._energy(self.read)

    def _energy(self, states: Tensor) -> float:
        """‖states‖² with padding for a quarter."""
        positions = states.square().sum(-1).flatten()
        valid = self.window.valid_positions
        audio = audio_positions(valid, len(positions), self.entering_positions)
        return float(positions[:audio].sum() + positions[audio:].sum() / PADDING_STRIDE)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One thing to truncate: shares of ``width`` are tried."""

    name: str
    block: int
    energies: Tensor
    width: float
    cut: Cut


def _trials(speech: SpeechModel, encoder: nn.Module, spectra: Spectra) -> Iterator[_Trial]:
    adapter = adapter_for(speech.model)
    block_of = {}
    for target in (*adapter.convolutions(encoder), *adapter.targets(encoder)):
        if target.name not in spectra:
            continue  # a convolution that the calibration did not look at
        block_of[target.name] = BEFORE if target.group == "convolution" else target.block
        spectrum = spectra[target.name]
        width = break_even_rank(target.in_features, target.out_features)
        cut: Cut = partial(truncating, encoder.get_submodule(target.name), spectrum)
        yield _Trial(target.name, block_of[target.name], spectrum.variances, width, cut)
    for site in adapter.attentions(encoder):
        block, width = block_of[site.query], site.head_dim
        if (scores := spectra.attentions[site.name].query_key) is not None:
            cut = partial(truncating_query_key, encoder, site, scores)
            yield _Trial(query_key_of(site), block, scores.energies.sum(0), width, cut)
        values = spectra.attentions[site.name].value_output
        cut = partial(truncating_value_output, encoder, site, values)
        yield _Trial(value_output_of(site), block, values.energies.sum(0), width, cut)
