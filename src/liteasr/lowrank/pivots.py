"""Weights that nothing needs: a product of two matrices stays the same where one begins with I."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Pivoted", "pivoted"]


class Pivoted(NamedTuple):
    """W = T W', with an identity in some columns of W'.

    Attributes:
        weight: W', [*batch, narrow, wide].
        basis: T, [*batch, narrow, narrow], for what comes after W.
        place: Where each column of W stands in [I | all others], [*batch, wide].
    """

    weight: Float[Tensor, "*batch narrow wide"]
    basis: Float[Tensor, "*batch narrow narrow"]
    place: Int[Tensor, "*batch wide"]


def pivoted(weight: Float[Tensor, "*batch narrow wide"]) -> Pivoted:
    """Take out of a wide matrix as many parameters as an invertible map behind it could put back.

    U W = (U T)(T⁺ W) with T the columns of W that Gaussian elimination pivots on, which span all
    others: T⁺ W holds an identity there, and narrow² parameters need not be kept. Nothing is
    approximated. Computed and returned in float64.

    Raises:
        ValueError: ``weight`` has more rows than columns.

    Reference: PIFA (arXiv:2501.19090), which pivots on the rows of a chain's product.
    """
    narrow, wide = weight.shape[-2:]
    if narrow > wide:
        raise ValueError(f"weight must have as many columns as rows or more, got {narrow} x {wide}")
    exact = weight.detach().to(torch.float64)
    factors, pivots, _ = torch.linalg.lu_factor_ex(exact.mT)
    permutation = torch.lu_unpack(factors, pivots, unpack_data=False)[0]
    first = permutation.argmax(dim=-2)[..., :narrow]
    place = _places(first, wide)
    order = place.argsort(dim=-1).unsqueeze(-2).expand_as(exact)
    basis = exact.gather(-1, order[..., :narrow])
    rest = torch.linalg.pinv(basis) @ exact.gather(-1, order[..., narrow:])
    identity = torch.eye(narrow, dtype=exact.dtype, device=exact.device).expand_as(basis)
    made = torch.cat([identity, rest], dim=-1)
    return Pivoted(made.gather(-1, place.unsqueeze(-2).expand_as(made)), basis, place)


def _places(first: Tensor, wide: int) -> Tensor:
    """Those columns first, in their order, then all others in theirs."""
    narrow = first.shape[-1]
    places = torch.zeros(*first.shape[:-1], wide, dtype=torch.int64, device=first.device)
    chosen = places.bool().scatter(-1, first, True)
    others = narrow - 1 + (~chosen).long().cumsum(dim=-1)
    own = torch.arange(narrow, device=first.device).expand_as(first)
    return torch.where(chosen, places, others).scatter(-1, first, own)
