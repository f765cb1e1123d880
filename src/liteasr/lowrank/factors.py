"""Two thin matrices in place of one: the closed form of LiteASR."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from liteasr.lowrank.spectrum import Spectrum

__all__ = ["Factors", "break_even_rank", "factorize"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Factors:
    """y ≈ up (down x) + bias.

    Attributes:
        down: [rank, in].
        up: [out, rank].
        bias: [out].
    """

    down: Float[Tensor, "rank in"]
    up: Float[Tensor, "out rank"]
    bias: Float[Tensor, "out"]


def break_even_rank(in_features: int, out_features: int) -> float:
    """The rank at which two factors cost as much as the layer: in·out / (in + out).

    Half the width for a square layer, 0.8 of it between d and 4 d.
    """
    return in_features * out_features / (in_features + out_features)


def factorize(
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, "out"] | None,
    spectrum: Spectrum,
    rank: int,
) -> Factors:
    """Project a linear layer's output onto its leading principal components.

    With components U and readers V [out, rank], the same where the metric is the plain one, and
    mean m, y = Wx + b becomes U (Vᵀ W x) + m + U Vᵀ (b - m). The result has a bias even where the
    layer had none (Whisper's k_proj). Computed in float64, returned in the dtype of ``weight``.

    Raises:
        ValueError: ``rank`` is not between 1 and the number of components at hand.

    Reference: LiteASR (arXiv:2502.20583).
    """
    limit = spectrum.components.shape[1]
    if not 1 <= rank <= limit:
        raise ValueError(f"rank must be between 1 and {limit}, got {rank}")
    components, readers = spectrum.components[:, :rank], spectrum.readers[:, :rank]
    matrix = weight.detach().to(torch.float64)
    offset = -spectrum.mean if bias is None else bias.detach().to(torch.float64) - spectrum.mean
    return Factors(
        down=(readers.T @ matrix).to(weight.dtype),
        up=components.to(weight.dtype).contiguous(),
        bias=(spectrum.mean + components @ (readers.T @ offset)).to(weight.dtype),
    )
