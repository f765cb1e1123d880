"""What a layer costs in each of its forms: the units that a budget can be given in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from liteasr.encoders import AttentionSite, adapter_for, encoder_parameters
from liteasr.plan.flops import EncoderFlops, count_flops
from liteasr.plan.rank_plan import LayerPlan, RankPlan

__all__ = ["Costs", "Prices", "Unit"]

Unit = Literal["parameters", "flops", "latency"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices(ABC):
    """What an encoder costs part by part: all that a budget asks of its unit.

    Attributes:
        model: The dense model.
    """

    model: Any

    @abstractmethod
    def layer(self, plan: LayerPlan) -> float:
        """Of a layer in its planned form."""

    @abstractmethod
    def products(self, site: AttentionSite, query_key: int, value: int) -> float:
        """Of an attention's two products, at the widths of its heads."""

    @property
    @abstractmethod
    def dense(self) -> float:
        """Of the whole encoder before compression."""

    @property
    def whole(self) -> float:
        """What shares are of: the encoder before compression and before positions were pooled."""
        return self.dense

    @abstractmethod
    def refusal(self, keep: float, least: float) -> str:
        """Why a share cannot be kept: what it asks for, and the least that is possible."""

    def promise(self, plan: RankPlan) -> Mapping[str, Any]:
        """What the plan should say of its own cost; what can be counted from it need not be."""
        return {}

    def of(self, plan: RankPlan) -> float:
        """Of the whole encoder after compression."""
        sites = adapter_for(self.model).attentions(self._encoder)
        products = sum(
            self.products(
                site, _head_width(plan[site.query], site), _head_width(plan[site.value], site)
            )
            for site in sites
        )
        return self.fixed + sum(self.layer(layer) for layer in plan) + products - self._paid(plan)

    @property
    def fixed(self) -> float:
        """Of all that is no target, convolutions as they were included."""
        return self.dense - self._reducible

    @property
    def _reducible(self) -> float:
        adapter, encoder = adapter_for(self.model), self._encoder
        layers = (self.layer(LayerPlan.of(target)) for target in adapter.targets(encoder))
        sites = adapter.attentions(encoder)
        return sum(layers) + sum(self.products(s, s.head_dim, s.head_dim) for s in sites)

    def _paid(self, plan: RankPlan) -> float:
        """What `fixed` holds of whole convolutions that the plan reduces."""
        planned = {layer.name for layer in plan}
        convolutions = adapter_for(self.model).convolutions(self._encoder)
        return sum(self.layer(LayerPlan.of(c)) for c in convolutions if c.name in planned)

    @property
    def _encoder(self) -> nn.Module:
        return adapter_for(self.model).encoder(self.model)

    @property
    def _positions(self) -> int:
        return adapter_for(self.model).positions(self._encoder)


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs(Prices):
    """Prices layers in parameters, or in FLOPs for one whole window of audio.

    A linear layer of n weights over T vectors takes 2·n·T FLOPs; the products of an attention
    with H heads take 2·T²·H·r for the scores and as many for the values, r the width of a head.
    Convolutions count, norms, activations and biases do not. How many vectors each layer sees,
    and what cannot be reduced, is counted on a shadow of the encoder (`count_flops`).

    Attributes:
        unit: ``parameters`` or ``flops``.
    """

    unit: Literal["parameters", "flops"]
    _flops: EncoderFlops | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.unit == "flops":
            object.__setattr__(self, "_flops", count_flops(self.model))

    def layer(self, plan: LayerPlan) -> float:
        """Of a layer in its planned form, with the bias it gains or loses."""
        if self._flops is not None:
            return 2.0 * self._flops.vectors[plan.name] * plan.multiplied
        had_bias = self._encoder.get_submodule(plan.name).bias is not None
        changed = 0 if plan.form == "dense" else plan.shape[1] - had_bias * plan.out_features
        return float(plan.parameters + changed)

    def products(self, site: AttentionSite, query_key: int, value: int) -> float:
        """Of an attention's two products, at the widths of its heads."""
        if self.unit == "parameters":
            return 0.0
        positions = self._positions
        if self._flops is not None:  # which knows where positions are pooled
            positions = self._flops.vectors[site.query]
        return 2.0 * positions**2 * site.heads * (query_key + value)

    @property
    def dense(self) -> float:
        """Of the whole encoder before compression."""
        if self._flops is not None:
            return self._flops.total
        return float(encoder_parameters(self.model))

    @property
    def whole(self) -> float:
        """What shares are of: the encoder before compression and before positions were pooled."""
        return self.dense if self._flops is None else self._flops.whole

    def refusal(self, keep: float, least: float) -> str:
        """Why a share cannot be kept: what it asks for, and the least that is possible."""
        return (
            f"keep={keep:g} asks for {keep * self.whole / 1e6:.2f} M {self.unit}; the smallest "
            f"ranks leave {least / 1e6:.2f} M ({least / self.whole:.1%})"
        )


def _head_width(layer: LayerPlan, site: AttentionSite) -> int:
    return layer.rank if layer.joint and layer.rank is not None else site.head_dim
