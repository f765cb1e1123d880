"""A weight of which an identity is a part, and is not kept."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["Across", "Pivots", "pivot_weight_", "pivots_of", "without_pivots"]

Across = Literal["in", "out"]


class Pivots(nn.Module):
    """Puts a weight together from an identity and the values that are kept (a parametrization).

    Args:
        place: Where each column stands in [I | values], by group of rows.
        across: ``in`` where groups are of outputs and the identity is in some of their inputs,
            ``out`` where groups are of inputs and it is in some of their outputs.
        partner: Name of the layer that the inverse went to, where groups are heads.
    """

    place: Int[Tensor, "groups wide"]

    def __init__(
        self, place: Int[Tensor, "groups wide"], *, across: Across, partner: str | None = None
    ) -> None:
        super().__init__()
        self.across, self.partner = across, partner
        self.register_buffer("place", place.to(torch.int16))

    def forward(self, values: Float[Tensor, "groups narrow rest"]) -> Float[Tensor, "out in"]:
        """The weight of a linear layer."""
        groups, narrow, _ = values.shape
        identity = torch.eye(narrow, dtype=values.dtype, device=values.device)
        made = torch.cat([identity.expand(groups, -1, -1), values], dim=-1)
        where = self.place.long().unsqueeze(1).expand(-1, narrow, -1)
        weight = made.gather(-1, where).flatten(0, 1)
        return weight if self.across == "in" else weight.T

    def right_inverse(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "groups narrow rest"]:
        """What is kept of a weight that has its identity."""
        rows = weight if self.across == "in" else weight.T
        blocks = rows.reshape(len(self.place), -1, rows.shape[1])
        order = self.place.long().argsort(dim=-1).unsqueeze(1).expand_as(blocks)
        values: Tensor = blocks.gather(-1, order)[..., blocks.shape[1] :]
        return values.contiguous()


def pivot_weight_(
    layer: nn.Linear,
    place: Int[Tensor, "groups wide"],
    *,
    across: Across,
    partner: str | None = None,
) -> None:
    """Keep of a layer's weight what is not the identity in it, which must be there already."""
    pivots = Pivots(place, across=across, partner=partner)
    parametrize.register_parametrization(layer, "weight", pivots, unsafe=True)


def pivots_of(layer: nn.Module) -> Pivots | None:
    """How a layer's weight is put together; None where it is kept whole."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    found = layer.parametrizations["weight"][0]  # type: ignore[index]
    return found if isinstance(found, Pivots) else None


def without_pivots(layer: nn.Module) -> nn.Module:
    """The same layer with its weight as it is used; itself where that is what it keeps."""
    if pivots_of(layer) is None:
        return layer
    assert isinstance(layer, nn.Linear)
    plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
    plain.weight = nn.Parameter(layer.weight.detach())
    plain.bias = layer.bias
    return plain.train(layer.training)
