"""A compressed model merged back to full matrices: larger again, and read by everything.

A chain becomes W = up·down. A head of width r gets zeros up to its old width, so its scores and
its values stay what they are under the old scale. Hidden units that went come back without weights:
whatever the activation makes of zero, the second layer does not read it. What a dense layer has no
place for is the bias of the keys, which softmax does not see.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from liteasr.atomic import atomic_directory
from liteasr.encoders import AttentionSite, MlpSite, adapter_for, encode, pooled_from
from liteasr.errors import ExportError
from liteasr.export.verification import Agreement, Disagreement, Window, probe_windows
from liteasr.nn import LowRankConv1d, LowRankLinear
from liteasr.pivoting import unpivoted_
from liteasr.sources import SpeechModel

__all__ = ["encoder_states", "export_dense", "merged"]

TOLERANCE = 1e-3

Site = AttentionSite | MlpSite


def export_dense(speech: SpeechModel, directory: str | os.PathLike[str]) -> Agreement:
    """Write an ordinary Hugging Face directory that gives what the compressed model gives.

    Args:
        speech: The model, in any form.
        directory: Where; must not exist or be empty.

    Returns:
        How far the merged encoder is from the compressed one.

    Raises:
        ExportError: A layer cannot be merged, or the encoders differ by more than 1e-3.
        StorageError: There is something already, or the disk refused.
    """
    dense = merged(speech)
    disagreement = Disagreement()
    for window in probe_windows(speech):
        disagreement.add(encoder_states(dense, window), encoder_states(speech.model, window))
    disagreement.total.require(TOLERANCE)
    with atomic_directory(directory) as folder:
        dense.save_pretrained(folder)
        speech.model.generation_config.save_pretrained(folder)
        speech.processor.save_pretrained(folder)
        speech.processor.feature_extractor.save_pretrained(folder)  # where older readers look
    return disagreement.total


def merged(speech: SpeechModel) -> Any:
    """The same model with dense layers only, in memory of its own.

    Raises:
        ExportError: A layer cannot be merged, or positions are pooled.
    """
    from transformers.initialization import no_init_weights

    model = speech.model
    if (block := pooled_from(adapter_for(model).encoder(model))) is not None:
        raise ExportError(
            f"{speech.name} pools positions from block {block} on, which no dense Whisper does: "
            "export it to onnx"
        )
    with no_init_weights():
        dense = type(model)._from_config(model.config, dtype=model.dtype)
    adapter = adapter_for(model)
    encoder, place = adapter.encoder(model), adapter.encoder(dense)
    prefix = next(name for name, module in model.named_modules() if module is encoder)
    targets = {target.name: f"{prefix}.{target.name}" for target in adapter.targets(place)}
    targets |= {c.name: f"{prefix}.{c.name}" for c in adapter.convolutions(place)}
    replaced = tuple(f"{name}." for name in targets.values())
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith(replaced)}
    sites = _sites(adapter.attentions(place), adapter.mlps(place))
    with unpivoted_(model, keep=False):  # heads may be quantized, which wants them balanced
        for name, full_name in targets.items():
            layer = _full_width(name, encoder.get_submodule(name), sites.get(name))
            weights[f"{full_name}.weight"] = layer.weight
            if place.get_submodule(name).bias is not None:
                weights[f"{full_name}.bias"] = _bias_of(layer)
            elif layer.bias is not None and not _is_key(name, sites.get(name)):
                kind = type(model).__name__
                raise ExportError(f"{name} has a bias, which {kind} has no place for")
    dense.load_state_dict(weights)
    dense.tie_weights()
    dense.generation_config = model.generation_config
    return dense.eval()


def _sites(attentions: tuple[AttentionSite, ...], mlps: tuple[MlpSite, ...]) -> dict[str, Site]:
    """Which attention or MLP a layer belongs to."""
    sites: dict[str, Site] = {}
    for attention in attentions:
        roles = (attention.query, attention.key, attention.value, attention.output)
        sites |= dict.fromkeys(roles, attention)
    for mlp in mlps:
        sites |= dict.fromkeys((mlp.first, mlp.second), mlp)
    return sites


def _is_key(name: str, site: Site | None) -> bool:
    return isinstance(site, AttentionSite) and site.key == name


def _full_width(name: str, module: nn.Module, site: Site | None) -> nn.Linear | nn.Conv1d:
    """A layer as one matrix, with zeros where its heads were narrowed or units went."""
    layer = module.merged() if isinstance(module, LowRankLinear | LowRankConv1d) else module
    if isinstance(layer, nn.Conv1d):
        return layer
    if not isinstance(layer, nn.Linear):
        raise ExportError(f"{name} is a {type(layer).__name__}: only linear layers can be merged")
    if site is None:
        return layer
    bias: Tensor | None = layer.bias
    reads = name == (site.output if isinstance(site, AttentionSite) else site.second)
    if reads:
        weight = _padded(layer.weight.T, site).T.contiguous()
    else:
        weight = _padded(layer.weight, site)
        bias = None if bias is None else _padded(bias, site)
    outputs, inputs = weight.shape
    widened = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    widened.weight = nn.Parameter(weight)
    if bias is not None:
        widened.bias = nn.Parameter(bias.detach())
    return widened


def _padded(rows: Float[Tensor, "narrow *in"], site: Site) -> Tensor:
    """Rows head by head, each head with zeros up to its old width; a hidden vector is one head."""
    heads, width = (
        (site.heads, site.head_dim) if isinstance(site, AttentionSite) else (1, site.units)
    )
    by_head = rows.detach().reshape(heads, -1, *rows.shape[1:])
    zeros = by_head.new_zeros(heads, width - by_head.shape[1], *rows.shape[1:])
    return torch.cat([by_head, zeros], dim=1).flatten(0, 1)


def _bias_of(layer: nn.Linear | nn.Conv1d) -> Tensor:
    """Its bias; zeros where it has none."""
    return layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias


@torch.inference_mode()
def encoder_states(model: Any, window: Window) -> np.ndarray:
    """What the encoder inside a recognizer gives, in float32."""
    features = torch.from_numpy(window).to(model.device, model.dtype)
    states = encode(adapter_for(model).encoder(model), {"input_features": features})
    output: np.ndarray = states.to("cpu", torch.float32).numpy()
    return output
