"""Sensitivities from gradients of the decoder's own log-likelihood, in place of probing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import liteasr
from liteasr.encoders import adapter_for
from liteasr.evaluation.reference import DenseReference
from liteasr.lowrank import Factors, Spectra, Spectrum
from liteasr.sensitivity import Sensitivity, query_key_of, value_output_of

__all__ = ["Fisher", "fisher_of", "metric_factors", "mixed"]

Found = dict[str, dict[str, Tensor]]


class Fisher:
    """Sums over windows: expected KL of every truncation, and E[g gᵀ] of every layer.

    With labels drawn from the model's own distribution, g the gradient of their log-likelihood and
    δ what a truncation changes in a layer's output, KL ≈ ½ E[(Σ_t g_tᵀ δ_t)²] (``whole``), or
    ½ E[Σ_t (g_tᵀ δ_t)²] where positions are taken as independent (``positions``).
    """

    def __init__(self) -> None:
        self.curves: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        self.dropped: dict[str, Tensor] = {}
        self.grams: dict[str, Tensor] = {}

    def add(self, name: str, effects: Tensor, dropped: Tensor) -> None:
        """Effects g_tᵀ δ_t, [positions, ranks], beside the energy that each rank drops."""
        self.curves["whole"][name].append(effects.sum(0).square() / 2)
        self.curves["positions"][name].append(effects.square().sum(0) / 2)
        self.dropped[name] = dropped

    def sensitivity(self, kind: str, like: Sensitivity) -> Sensitivity:
        """In the form that plans are made from: a point for every rank."""
        curves = {}
        for name, samples in self.curves[kind].items():
            losses = torch.stack(samples).mean(0)
            # a loss falls as the rank grows: what a small sample says against it is noise
            losses = losses.flip(0).cummax(0).values.flip(0)
            points = zip(self.dropped[name].tolist(), losses.tolist(), strict=True)
            curves[name] = tuple(sorted((d, x) for d, x in points if d > 0 and x > 0))
        return Sensitivity(
            model=like.model, encoder_sha256=like.encoder_sha256, windows=0, curves=curves
        )


def mixed(first: Sensitivity, second: Sensitivity) -> Sensitivity:
    """The geometric mean of two, at the points of both."""
    curves = {}
    for name in first.curves:
        at = sorted({x for s in (first, second) for x, _ in s.curves[name]})
        pairs = [(x, (first.loss(name, x) * second.loss(name, x)) ** 0.5) for x in at]
        curves[name] = tuple(pairs)
    return Sensitivity(
        model=first.model, encoder_sha256=first.encoder_sha256, windows=0, curves=curves
    )


def fisher_of(
    dense: liteasr.SpeechModel, spectra: Spectra, reference: DenseReference, *, seed: int = 0
) -> Fisher:
    """One draw of labels per utterance, one backward pass each."""
    model: Any = dense.model
    adapter = adapter_for(model)
    encoder = adapter.encoder(model)
    model.requires_grad_(False)
    made, generator = Fisher(), torch.Generator().manual_seed(seed)
    for told in reference.utterances:
        window = next(adapter.inputs(dense.processor, told.utterance.load()))
        tokens = torch.tensor([[*told.prompt, *told.targets[:-1]]])
        with torch.enable_grad(), _watching(encoder, spectra, made):
            entering = adapter.embed(encoder, window.tensors).requires_grad_()
            hidden = adapter.run_from(encoder, 0, entering)
            decoded = model.get_decoder()(input_ids=tokens, encoder_hidden_states=hidden)
            states = decoded.last_hidden_state[0, len(told.prompt) - 1 :]
            scores = functional.linear(states, model.get_output_embeddings().weight)
            chances = scores.detach().softmax(-1)
            drawn = torch.multinomial(chances, 1, generator=generator)
            scores.log_softmax(-1).gather(1, drawn).sum().backward()
    return made


@contextmanager
def _watching(encoder: nn.Module, spectra: Spectra, made: Fisher) -> Iterator[None]:
    adapter = adapter_for(encoder)
    sites = {site.query: site for site in adapter.attentions(encoder)}
    outputs = {site.output: site for site in sites.values()}

    def arrived(name: str, x: Tensor, y: Tensor, gradient: Tensor) -> None:
        g, y = gradient[0], y.detach()[0]
        gram = g.T @ g
        made.grams[name] = made.grams.get(name, 0) + gram
        _chains_(made, name, spectra[name], y, g)
        if name in sites:
            _scores_(made, sites[name], spectra, y, g)
        if name in outputs:
            _values_(made, outputs[name], spectra, x.detach()[0], g)

    def hook(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        output.register_hook(partial(arrived, name, inputs[0], output))

    with ExitStack() as hooks:
        for target in adapter.targets(encoder):
            module = encoder.get_submodule(target.name)
            hooks.enter_context(module.register_forward_hook(partial(hook, target.name)))
        yield


def _chains_(made: Fisher, name: str, spectrum: Spectrum, y: Tensor, g: Tensor) -> None:
    components, centred = spectrum.components.to(y), y - spectrum.mean.to(y)
    kept = ((g @ components) * (centred @ components)).cumsum(1)
    whole = (g * centred).sum(1, keepdim=True)
    tails = spectrum.variances.flip(0).cumsum(0).flip(0)[1 : kept.shape[1] + 1]
    width = min(len(tails), kept.shape[1])
    made.add(name, (whole - kept)[:, 7:width:8], tails[7:width:8])


def _scores_(made: Fisher, site: Any, spectra: Spectra, q: Tensor, g: Tensor) -> None:
    half = spectra.attentions[site.name].query_key
    heads = q.view(len(q), site.heads, -1, 1)
    effects, dropped = [], []
    for rank in range(8, site.head_dim, 8):
        maps = (half.key_maps[:, :rank].mT @ half.query_maps[:, :rank]).to(q)
        effects.append((g * ((maps @ heads).flatten(1) - q)).sum(1))
        dropped.append(half.energies[:, rank:].sum())
    made.add(query_key_of(site), torch.stack(effects, 1), torch.stack(dropped))


def _values_(made: Fisher, site: Any, spectra: Spectra, u: Tensor, g: Tensor) -> None:
    half = spectra.attentions[site.name].value_output
    effects, dropped = [], []
    for rank in range(8, site.head_dim, 8):
        kept, tail = half.output_maps[..., :rank], half.output_maps[..., rank:]
        lost = (tail @ half.value_maps[:, rank:]).permute(1, 0, 2).flatten(1)
        means = half.output_means.unsqueeze(-1)
        offset = (means - kept @ (kept.mT @ means)).squeeze(-1).sum(0)
        effects.append((g * (offset.to(u) - u @ lost.T.to(u))).sum(1))
        dropped.append(half.energies[:, rank:].sum())
    made.add(value_output_of(site), torch.stack(effects, 1), torch.stack(dropped))


def metric_factors(
    weight: Tensor, bias: Tensor, inputs: Any, gram: Tensor, rank: int, *, floor: float = 0.1
) -> Factors:
    """The chain that is best in the metric G = E[g gᵀ], with a floor of the plain one."""
    gram = gram.double() / gram.diagonal().double().mean()
    values, basis = torch.linalg.eigh((1 - floor) * gram + floor * torch.eye(len(gram)).double())
    root, inverse = values.sqrt(), values.rsqrt()
    matrix = (basis * root).T @ weight.double()
    spectrum = Spectrum.from_input_moments(inputs, matrix, None)
    leading = spectrum.components[:, :rank]
    up, down = (basis * inverse) @ leading, leading.T @ matrix
    mean = weight.double() @ inputs.mean
    made = bias.double() + mean - up @ (down @ inputs.mean)
    return Factors(down=down.float(), up=up.float().contiguous(), bias=made.float())
