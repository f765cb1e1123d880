"""The paper's rank rule: keep a share of the variance."""

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["rank_for_share"]


def rank_for_share(
    variances: Float64[Tensor, "out"], share: float, *, multiple_of: int = 16
) -> int | None:
    """The smallest rank k, a multiple of ``multiple_of``, with Σ_{i≤k} λ_i / Σ λ_i > θ.

    Returns:
        The rank, or None where no admissible rank passes θ: the layer stays dense. (The
        public code builds a layer larger than the dense one there.)

    Raises:
        ValueError: ``share`` is outside (0, 1] or ``multiple_of`` is below 1.

    Reference: LiteASR (arXiv:2502.20583), section 3.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be in (0, 1], got {share}")
    if multiple_of < 1:
        raise ValueError(f"multiple_of must be at least 1, got {multiple_of}")
    kept = torch.cumsum(variances, dim=0)
    # compared with the same running sum: rounding must not push a share past 1
    passing = torch.nonzero(kept[multiple_of - 1 :: multiple_of] > share * kept[-1])
    return int(passing[0, 0] + 1) * multiple_of if len(passing) else None
