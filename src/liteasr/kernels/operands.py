"""What an attention is made of, checked once for all ways to compute it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from liteasr.kernels.folding import QueryFold, ValueFold

__all__ = ["ByHead", "Mask", "Operands"]

ByHead = Float[Tensor, "batch heads seq width"]
Mask = Float[Tensor, "batch heads seq keys"] | Bool[Tensor, "batch heads seq keys"]


class Operands(NamedTuple):
    """Everything by head; what heads or batches share is repeated by a stride of 0.

    Attributes:
        query: Queries, or q₁ where there is a ``query_fold``.
        key: Keys, or k₁.
        value: Values, or v₁ where there is a ``value_fold``.
        scaling: Factor of the scores.
        mask: Added to the scores, or true where a key is seen.
        query_fold: Takes q₁ to a head's queries.
        value_fold: Takes the weighted sum of v₁ to a head's output.
    """

    query: ByHead
    key: ByHead
    value: ByHead
    scaling: float
    mask: Mask | None
    query_fold: QueryFold | None
    value_fold: ValueFold | None

    def checked(self) -> Operands:
        """The same with every axis in place.

        Raises:
            ValueError: Shapes do not fit together, or ``scaling`` is not a positive number.
        """
        if not 0 < self.scaling < math.inf:
            raise ValueError(f"scaling must be a positive number, got {self.scaling}")
        heads = self._heads()
        query, key, value = (_by_head(t, heads) for t in (self.query, self.key, self.value))
        self._check_widths()
        mask = self.mask
        if mask is not None:
            shape = (query.shape[0], heads, query.shape[2], key.shape[2])
            try:
                mask = mask.expand(shape)
            except RuntimeError as error:
                raise ValueError(
                    f"mask must fit scores of {shape}, got {tuple(mask.shape)}"
                ) from error
        return self._replace(query=query, key=key, value=value, mask=mask)

    def to(self, dtype: torch.dtype) -> Operands:
        """The same in another dtype; a mask of truth values stays one."""
        mask, query_fold, value_fold = self.mask, self.query_fold, self.value_fold
        return self._replace(
            query=self.query.to(dtype),
            key=self.key.to(dtype),
            value=self.value.to(dtype),
            mask=mask if mask is None or mask.dtype == torch.bool else mask.to(dtype),
            query_fold=query_fold and QueryFold(*(t.to(dtype) for t in query_fold)),
            value_fold=value_fold and ValueFold(*(t.to(dtype) for t in value_fold)),
        )

    def unfolded(self) -> Operands:
        """The same with a head's own queries in the place of q₁ and its fold."""
        if self.query_fold is None:
            return self
        query = self.query @ self.query_fold.matrix + self.query_fold.bias.unsqueeze(1)
        return self._replace(query=query, query_fold=None)

    def _heads(self) -> int:
        """The number of heads, of which all that is not shared must tell the same."""
        told: dict[str, int] = {}
        for name in ("query", "key", "value"):
            shape = tuple(getattr(self, name).shape)
            if len(shape) not in (3, 4):
                raise ValueError(f"{name} must have 4 axes, or 3 where shared, got {shape}")
            if len(shape) == 4:
                told[name] = shape[1]
        for name in ("query_fold", "value_fold"):
            if (fold := getattr(self, name)) is not None:
                told[name] = fold.matrix.shape[0]
        if len(set(told.values())) != 1:
            raise ValueError(f"query, key, value and folds must agree on the heads, got {told}")
        return next(iter(told.values()))

    def _check_widths(self) -> None:
        query, key, value = (tuple(t.shape) for t in (self.query, self.key, self.value))
        if not query[0] == key[0] == value[0] or key[-2] != value[-2]:
            raise ValueError(
                "query, key and value need one batch size, key and value one length, got "
                f"{query}, {key} and {value}"
            )
        needed: tuple[int, ...] = (key[-1], key[-1])
        if self.query_fold is not None:
            needed = tuple(self.query_fold.matrix.shape[1:])
        if (query[-1], key[-1]) != needed:
            raise ValueError(
                f"widths of query and key must be {needed}, got {query[-1]} and {key[-1]}"
            )
        if self.value_fold is not None and self.value_fold.matrix.shape[-1] != value[-1]:
            raise ValueError(
                f"value must be {self.value_fold.matrix.shape[-1]} wide for its fold, "
                f"got {value[-1]}"
            )


def _by_head(tensor: Tensor, heads: int) -> ByHead:
    return tensor if tensor.ndim == 4 else tensor.unsqueeze(1).expand(-1, heads, -1, -1)
