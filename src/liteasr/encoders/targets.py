"""What adapters share: describing layers, attentions on narrower heads, what reads an encoder."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.encoders.base import AttentionSite, Group, Observation, Target
from liteasr.nn import LowRankSelfAttention, sizes_of

__all__ = ["cross_attention_readout", "narrowed", "observed", "target"]


def target(
    name: str, group: Group, block: int, module: nn.Module, observation: Observation | None = None
) -> Target:
    """A layer that may be reduced; observed on its narrower side unless told otherwise."""
    in_features, out_features = sizes_of(module)
    return Target(
        name=name,
        group=group,
        block=block,
        in_features=in_features,
        out_features=out_features,
        observation=observation or observed(name, module),
    )


def observed(name: str, module: nn.Module) -> Observation:
    """The side with the smaller set of moments: x unless it is wider than y."""
    in_features, out_features = sizes_of(module)
    return Observation(name, "output" if in_features > out_features else "input")


def narrowed(encoder: nn.Module, site: AttentionSite) -> LowRankSelfAttention:
    """Plain self-attention on the layers of a site, however wide their heads are now."""
    query, key, value, output = (
        encoder.get_submodule(name) for name in (site.query, site.key, site.value, site.output)
    )
    return LowRankSelfAttention(
        q_proj=query,
        k_proj=key,
        v_proj=value,
        out_proj=output,
        heads=site.heads,
        scaling=site.scaling,
    )


def cross_attention_readout(model: Any) -> Float[Tensor, "read width"]:
    """Keys and values of a decoder's cross-attentions, stacked: all that reads the encoder."""
    attentions = [layer.encoder_attn for layer in model.get_decoder().layers]
    return torch.cat([m.weight.detach() for a in attentions for m in (a.k_proj, a.v_proj)])
