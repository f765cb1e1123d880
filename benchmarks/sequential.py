"""Sequential calibration: every layer fitted on what the reduced layers before it put out.

Whisper only, because the experiment walks through the parts of a block by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from regression import CrossMoments, regress
from torch import Tensor, nn

import liteasr
from liteasr.compression import install_
from liteasr.encoders import adapter_for
from liteasr.lowrank import (
    Affine,
    AttentionWeights,
    QueryKeySpectrum,
    Spectrum,
    ValueOutputSpectrum,
    factorize,
    reduce_query_key,
    reduce_value_output,
)
from liteasr.nn import LowRankLinear
from liteasr.nn.attention import attend

__all__ = ["Variant", "sequential_"]

STRIDE = 3  # neighboring positions say much the same: every third one is counted
READERS, WRITERS = ("q_proj", "k_proj", "v_proj", "fc1"), ("out_proj", "fc2")


@dataclass
class Variant:
    """A model that is being reduced, and how its layers are fitted.

    Attributes:
        speech: Changed in place.
        plan: Forms and ranks.
        readers: How far the layers that read the residual stream go from their own weights (0)
            to those that least squares fits to the original layer's output (1).
        writers: The same for layers that write to the stream.
        stream: Fit writers to what takes the reduced stream to the original one, in place of the
            original layer's output.
        means: Fit the mean of every output even where the share is 0.
        ridge: See `regress`.
    """

    speech: liteasr.SpeechModel
    plan: liteasr.RankPlan
    readers: float = 1.0
    writers: float = 1.0
    stream: bool = True
    means: bool = True
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        self.encoder = adapter_for(self.speech.model).encoder(self.speech.model)

    def fit(self, role: str, own: Affine, moments: CrossMoments) -> Affine:
        share = self.readers if role in READERS else self.writers
        if share == 0 and not self.means:
            return own
        fitted = regress(moments, own, ridge=self.ridge).weight if share else own.weight
        weight = own.weight + share * (fitted - own.weight)
        return Affine(weight, moments.target_mean - weight @ moments.inputs.mean)


@dataclass
class _State:
    """Where one window is inside a block: what the next layers read, and the stream beside it."""

    inputs: Tensor
    stream: Tensor


@torch.inference_mode()
def sequential_(
    dense: liteasr.SpeechModel, variants: list[Variant], corpus: liteasr.Corpus
) -> None:
    """Reduce all variants in place, layer by layer, in step."""
    adapter = adapter_for(dense.model)
    encoder: Any = adapter.encoder(dense.model)
    states = []
    for utterance in corpus:
        window = next(adapter.inputs(dense.processor, utterance.load()))
        stream = adapter.embed(encoder, window.tensors)
        states.append(_State(encoder.layers[0].self_attn_layer_norm(stream), stream))
    own = [[replace(state) for state in states] for _ in variants]
    for block in range(len(encoder.layers)):
        for stage in range(4):
            for variant, reduced in zip(variants, own, strict=True):
                moments = _moments(encoder, block, stage, states, reduced, variant.stream)
                _reduce_(variant, block, stage, moments, reduced)
            states = [_advanced(encoder, block, stage, state) for state in states]


def _layers(encoder: Any, block: int, stage: int) -> dict[str, Any]:
    layer = encoder.layers[block]
    attention = layer.self_attn
    return (
        {role: getattr(attention, role) for role in READERS[:3]},
        {"out_proj": attention.out_proj},
        {"fc1": layer.fc1},
        {"fc2": layer.fc2},
    )[stage]


def _moments(
    encoder: Any,
    block: int,
    stage: int,
    states: list[_State],
    reduced: list[_State],
    to_stream: bool,
) -> dict[str, CrossMoments]:
    """By layer of a stage: reduced inputs beside the original outputs."""
    found: dict[str, CrossMoments] = {}
    for theirs, mine in zip(states, reduced, strict=True):
        for role, layer in _layers(encoder, block, stage).items():
            target = layer(theirs.inputs)
            if role in WRITERS and to_stream:
                target = target + theirs.stream - mine.stream
            x, t = mine.inputs[:, ::STRIDE], target[:, ::STRIDE]
            if role not in found:
                found[role] = CrossMoments.empty(x.shape[-1], t.shape[-1])
            found[role].update_(x, t)
    return found


def _reduce_(
    variant: Variant,
    block: int,
    stage: int,
    moments: dict[str, CrossMoments],
    states: list[_State],
) -> None:
    """Fit the layers of a stage, put them in their planned form, and run them."""
    layer = variant.encoder.layers[block]  # type: ignore[index, union-attr]
    before = [state.inputs for state in states]
    if stage == 0:
        variant.entering = before  # type: ignore[attr-defined]
    fitted = {
        role: variant.fit(role, _affine(linear), moments[role])
        for role, linear in _layers(variant.encoder, block, stage).items()
    }
    place = f"layers.{block}" if stage > 1 else f"layers.{block}.self_attn"
    forms = {role: variant.plan[f"{place}.{role}"] for role in fitted}
    made: dict[str, nn.Module] = {}
    for role, affine in fitted.items():
        inputs = moments[role].inputs
        made[role] = (
            _chain(affine, inputs, forms[role].rank)
            if forms[role].form == "chain"
            else _linear(affine)
        )
    heads = round(layer.self_attn.q_proj.in_features / 64)
    nothing = Affine(torch.empty(0), torch.empty(0))
    blank = AttentionWeights(heads=heads, query=nothing, key=nothing, value=nothing, output=nothing)
    if stage == 0 and forms["q_proj"].joint:
        weights = replace(blank, query=fitted["q_proj"], key=fitted["k_proj"])
        spectrum = QueryKeySpectrum.of(weights, moments["q_proj"].inputs)
        pair = reduce_query_key(weights, spectrum, forms["q_proj"].rank)
        made |= {"q_proj": _linear(pair[0]), "k_proj": _linear(pair[1])}
    joint = stage == 1 and forms["out_proj"].joint
    if joint:  # the values kept their width until what they become was seen
        value = _affine(layer.self_attn.v_proj)
        weights = replace(blank, value=value, output=fitted["out_proj"])
        spectrum = ValueOutputSpectrum.of(weights, moments["out_proj"].inputs)
        pair = reduce_value_output(weights, spectrum, forms["out_proj"].rank)
        made |= {"v_proj": _linear(pair[0]), "out_proj": _linear(pair[1])}
    install_(variant.speech.model, {f"{place}.{role}": module for role, module in made.items()})
    for index, state in enumerate(states):
        if joint:
            x = variant.entering[index]  # type: ignore[attr-defined]
            state = replace(
                state, inputs=_advanced(variant.encoder, block, 0, replace(state, inputs=x)).inputs
            )
        states[index] = _advanced(variant.encoder, block, stage, state)


def _advanced(encoder: Any, block: int, stage: int, state: _State) -> _State:
    layer, x = encoder.layers[block], state.inputs
    if stage == 0:
        attention = layer.self_attn
        query, key, value = (getattr(attention, role)(x) for role in READERS[:3])
        heads = getattr(attention, "heads", None) or attention.num_heads
        return replace(
            state, inputs=attend(query, key, value, heads=heads, scaling=attention.scaling)
        )
    if stage == 1:
        stream = state.stream + layer.self_attn.out_proj(x)
        return _State(layer.final_layer_norm(stream), stream)
    if stage == 2:
        return replace(state, inputs=layer.activation_fn(layer.fc1(x)))
    stream = state.stream + layer.fc2(x)
    last = block + 1 == len(encoder.layers)
    norm = encoder.layer_norm if last else encoder.layers[block + 1].self_attn_layer_norm
    return _State(norm(stream), stream)


def _chain(affine: Affine, inputs: Any, rank: int) -> LowRankLinear:
    spectrum = Spectrum.from_input_moments(inputs, affine.weight, affine.bias)
    return LowRankLinear.from_factors(factorize(affine.weight, affine.bias, spectrum, rank)).float()


def _linear(affine: Affine) -> nn.Linear:
    layer = nn.Linear(*affine.weight.T.shape)
    layer.weight, layer.bias = (nn.Parameter(part.float()) for part in affine)
    return layer


def _affine(linear: Any) -> Affine:
    weight = linear.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach().double()
    return Affine(weight, bias)
