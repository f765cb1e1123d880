"""Attention reduced as a unit: queries with keys, values with the output, head by head.

No extra matrix product is needed: the layers themselves become narrower, and so do the products
between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from liteasr.lowrank.metric import Metric
from liteasr.lowrank.moments import Moments

__all__ = [
    "Affine",
    "AttentionSpectrum",
    "AttentionWeights",
    "QueryKeySpectrum",
    "ValueOutputSpectrum",
    "reduce_query_key",
    "reduce_value_output",
]


class Affine(NamedTuple):
    """y = weight x + bias."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, "out"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionWeights:
    """The four layers of one self-attention without rotary positions."""

    heads: int
    query: Affine
    key: Affine
    value: Affine
    output: Affine


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryKeySpectrum:
    """How much of a head's scores each direction carries, strongest first.

    With C_q = E[q qᵀ] (bias included, not centred) and C_k = Cov(k), the SVD
    C_q^½ C_k^½ = U S Tᵀ gives q' = S^½ Uᵀ C_q^-½ q and k' = S^½ Tᵀ C_k^-½ k, so that q'ᵀ k' is
    qᵀ (k - E[k]). What is constant in the key adds the same to all scores of a query, which
    softmax ignores. The softmax scale stays the original one.

    Attributes:
        energies: S², the mean square of the scores by direction, [heads, dim].
        query_maps: q to q', [heads, dim, dim].
        key_maps: k to k', [heads, dim, dim].
        key_offset: What centres k before the map, without the key's own bias, [heads, dim].
    """

    energies: Float64[Tensor, "heads dim"]
    query_maps: Float64[Tensor, "heads dim dim"]
    key_maps: Float64[Tensor, "heads dim dim"]
    key_offset: Float64[Tensor, "heads dim"]

    @classmethod
    def of(cls, weights: AttentionWeights, inputs: Moments) -> QueryKeySpectrum:
        """From the moments of the vectors that queries and keys are made of."""
        query, query_bias = _by_head(weights.query, weights.heads)
        key, _ = _by_head(weights.key, weights.heads)
        mean = inputs.mean
        centred = query @ inputs.covariance @ query.mT
        query_mean = (query @ mean + query_bias).unsqueeze(-1)
        query_root, query_inverse = _roots(centred + query_mean @ query_mean.mT)
        key_root, key_inverse = _roots(key @ inputs.covariance @ key.mT)
        left, singular, right = torch.linalg.svd(query_root @ key_root)
        scale = singular.sqrt().unsqueeze(-1)
        return cls(
            energies=singular.square(),
            query_maps=scale * (left.mT @ query_inverse),
            key_maps=scale * (right @ key_inverse),
            key_offset=-(key @ mean),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueOutputSpectrum:
    """How much of the output each direction of a head carries, strongest first.

    A head adds W_o u to the output, u the weighted mean of its values. With C_u = Cov(u), the
    SVD G^½ W_o C_u^½ = U S Tᵀ gives u' = Uᵀ G^½ W_o u, which G^-½ U takes to the output; the part
    of E[u] that is lost goes into the bias. G is the metric of the output, I in the plain one.

    Attributes:
        energies: S², [heads, dim].
        value_maps: v to v', [heads, dim, dim].
        output_maps: v' to the output, [heads, out, dim].
        value_means: E[u'], [heads, dim].
    """

    energies: Float64[Tensor, "heads dim"]
    value_maps: Float64[Tensor, "heads dim dim"]
    output_maps: Float64[Tensor, "heads out dim"]
    value_means: Float64[Tensor, "heads dim"]

    @classmethod
    def of(
        cls, weights: AttentionWeights, attended: Moments, metric: Metric | None = None
    ) -> ValueOutputSpectrum:
        """From the moments of the vectors that enter the output layer."""
        dim = attended.dim // weights.heads
        output = _output_by_head(weights)
        weighed = output if metric is None else metric.weigh(output)
        covariance = attended.covariance.view(weights.heads, dim, weights.heads, dim)
        own = torch.stack([covariance[h, :, h] for h in range(weights.heads)])
        left, singular, _ = torch.linalg.svd(weighed @ _roots(own)[0], full_matrices=False)
        value_maps = left.mT @ weighed
        means = attended.mean.view(weights.heads, dim, 1)
        return cls(
            energies=singular.square(),
            value_maps=value_maps,
            output_maps=left if metric is None else metric.restore(left),
            value_means=(value_maps @ means).squeeze(-1),
        )

    def offset(self, rank: int) -> Float64[Tensor, "out"]:
        """What the directions past ``rank`` add to the output on average, over all heads."""
        lost = self.output_maps[..., rank:] @ self.value_means[:, rank:].unsqueeze(-1)
        return lost.squeeze(-1).sum(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionSpectrum:
    """Both halves of one self-attention.

    Attributes:
        query_key: None where positions are rotated in between, which no reduction by head outlives.
        value_output: Of the values and the output.
    """

    query_key: QueryKeySpectrum | None
    value_output: ValueOutputSpectrum


def reduce_query_key(
    weights: AttentionWeights, spectrum: QueryKeySpectrum, rank: int
) -> tuple[Affine, Affine]:
    """Query and key layers of ``rank`` outputs per head: [heads · rank, in].

    Raises:
        ValueError: ``rank`` is not between 1 and the heads' own width.
    """
    _check(rank, spectrum.energies)
    query, query_bias = _by_head(weights.query, weights.heads)
    key, _ = _by_head(weights.key, weights.heads)
    query_map, key_map = spectrum.query_maps[:, :rank], spectrum.key_maps[:, :rank]
    dtype = weights.query.weight.dtype
    return (
        _joined(query_map @ query, query_map @ query_bias.unsqueeze(-1), dtype),
        _joined(key_map @ key, key_map @ spectrum.key_offset.unsqueeze(-1), dtype),
    )


def reduce_value_output(
    weights: AttentionWeights, spectrum: ValueOutputSpectrum, rank: int
) -> tuple[Affine, Affine]:
    """A value layer [heads · rank, in] and the output layer [out, heads · rank] behind it.

    Raises:
        ValueError: ``rank`` is not between 1 and the heads' own width.
    """
    _check(rank, spectrum.energies)
    value, value_bias = _by_head(weights.value, weights.heads)
    value_map, output_map = spectrum.value_maps[:, :rank], spectrum.output_maps[..., :rank]
    dtype = weights.value.weight.dtype
    heads, out, _ = output_map.shape
    columns = output_map.permute(1, 0, 2).reshape(out, heads * rank)
    bias = weights.output.bias.detach().to(torch.float64) + spectrum.offset(rank)
    return (
        _joined(value_map @ value, value_map @ value_bias.unsqueeze(-1), dtype),
        Affine(columns.to(dtype).contiguous(), bias.to(dtype)),
    )


def _check(rank: int, energies: Tensor) -> None:
    limit = energies.shape[-1]
    if not 1 <= rank <= limit:
        raise ValueError(f"rank of a head must be between 1 and {limit}, got {rank}")


def _by_head(layer: Affine, heads: int) -> tuple[Tensor, Tensor]:
    weight, bias = (part.detach().to(torch.float64) for part in layer)
    return weight.view(heads, -1, weight.shape[-1]), bias.view(heads, -1)


def _output_by_head(weights: AttentionWeights) -> Tensor:
    matrix = weights.output.weight.detach().to(torch.float64)
    return matrix.view(matrix.shape[0], weights.heads, -1).permute(1, 0, 2)


def _roots(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """C^½ and its pseudoinverse, by head."""
    values, basis = torch.linalg.eigh(symmetric)
    roots = values.clamp_min(0.0).sqrt()
    # a direction never seen has no energy: its inverse is 0, not a huge number
    seen = values > values.amax(-1, keepdim=True) * values.shape[-1] * torch.finfo(values.dtype).eps
    inverses = torch.where(seen, 1 / roots.clamp_min(1e-300), 0.0)
    return (basis * roots.unsqueeze(-2)) @ basis.mT, (basis * inverses.unsqueeze(-2)) @ basis.mT


def _joined(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Affine:
    return Affine(
        weight.reshape(-1, weight.shape[-1]).to(dtype).contiguous(), bias.reshape(-1).to(dtype)
    )
