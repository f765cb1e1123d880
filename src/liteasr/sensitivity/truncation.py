"""Reductions tried on a running encoder, by hooks that are borrowed and given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from liteasr.encoders import AttentionSite
from liteasr.lowrank import QueryKeySpectrum, Spectrum, ValueOutputSpectrum
from liteasr.nn import from_vectors, to_vectors

__all__ = ["truncating", "truncating_query_key", "truncating_value_output"]


@contextmanager
def truncating(layer: nn.Module, spectrum: Spectrum, rank: int) -> Iterator[None]:
    """Project a layer's output on its leading components while the body runs."""

    def project(inputs: Tensor, output: Tensor) -> Tensor:
        mean = spectrum.mean.to(output)
        components = spectrum.components[:, :rank].to(output)
        readers = spectrum.readers[:, :rank].to(output)
        return mean + (output - mean) @ readers @ components.T

    with _changing_output(layer, project):
        yield


@contextmanager
def truncating_query_key(
    encoder: nn.Module, site: AttentionSite, spectrum: QueryKeySpectrum, rank: int
) -> Iterator[None]:
    """Let the scores of an attention be those of narrower heads while the body runs.

    q'ᵀ k' = (K_rᵀ Q_r q)ᵀ k up to what softmax ignores, so that queries alone need a change.
    """
    maps = spectrum.key_maps[:, :rank].mT @ spectrum.query_maps[:, :rank]

    def project(inputs: Tensor, output: Tensor) -> Tensor:
        by_head = output.reshape(*output.shape[:-1], site.heads, -1).transpose(-3, -2)
        changed: Tensor = by_head @ maps.mT.to(output)  # one product a head, not one a position
        return changed.transpose(-3, -2).flatten(-2)

    with _changing_output(encoder.get_submodule(site.query), project):
        yield


@contextmanager
def truncating_value_output(
    encoder: nn.Module, site: AttentionSite, spectrum: ValueOutputSpectrum, rank: int
) -> Iterator[None]:
    """Let an attention put out what narrower values give while the body runs."""
    lost = (
        spectrum.output_maps[..., rank:] @ spectrum.value_maps[:, rank:]
    )  # by head, of the output layer's matrix
    matrix = lost.permute(1, 0, 2).flatten(1)
    offset = spectrum.offset(rank)

    def project(inputs: Tensor, output: Tensor) -> Tensor:
        return output - inputs @ matrix.T.to(inputs) + offset.to(output)

    with _changing_output(encoder.get_submodule(site.output), project):
        yield


@contextmanager
def _changing_output(
    module: nn.Module, change: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[None]:
    def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        vectors = (to_vectors(module, tensor) for tensor in (inputs[0], output))
        return from_vectors(module, change(*vectors))

    with module.register_forward_hook(hook):
        yield
