"""The forms that the encoder of a tiny Whisper may have been brought into, with random weights."""

from collections.abc import Callable

import torch
from torch import nn

from liteasr.compression import install_
from liteasr.encoders import adapter_for, pool_positions_
from liteasr.nn import LowRankLinear, empty_chain
from liteasr.pivoting import PivotedLayer, pivot_
from liteasr.sources import SpeechModel

HEADS, WIDTH = 4, 64


def chains(speech: SpeechModel) -> None:
    targets = adapter_for(speech.model).targets(speech.model.get_encoder())
    install_(
        speech.model,
        {
            t.name: LowRankLinear(t.in_features, t.out_features, 5 + i)
            for i, t in enumerate(targets)
        },
    )


def narrow_scores(speech: SpeechModel) -> None:
    name = "layers.0.self_attn"
    roles = ("q_proj", "k_proj")
    install_(speech.model, {f"{name}.{role}": nn.Linear(WIDTH, HEADS * 3) for role in roles})


def narrow_values(speech: SpeechModel) -> None:
    name = "layers.1.self_attn"
    install_(
        speech.model,
        {
            f"{name}.v_proj": nn.Linear(WIDTH, HEADS * 7),
            f"{name}.out_proj": nn.Linear(HEADS * 7, WIDTH),
        },
    )


def fewer_units(speech: SpeechModel) -> None:
    install_(
        speech.model,
        {"layers.1.fc1": nn.Linear(WIDTH, 37), "layers.1.fc2": nn.Linear(37, WIDTH)},
    )


def fewer_units_in_chains(speech: SpeechModel) -> None:
    install_(
        speech.model,
        {
            "layers.0.fc1": LowRankLinear(WIDTH, 90, 21),
            "layers.0.fc2": LowRankLinear(90, WIDTH, 17),
            "layers.1.fc1": LowRankLinear(WIDTH, 37, 12),
            "layers.1.fc2": nn.Linear(37, WIDTH),
        },
    )


def mixed(speech: SpeechModel) -> None:
    narrow_scores(speech)
    narrow_values(speech)
    install_(
        speech.model,
        {
            "layers.0.self_attn.v_proj": LowRankLinear(WIDTH, WIDTH, 9),
            "layers.0.self_attn.out_proj": LowRankLinear(WIDTH, WIDTH, 11),
            "layers.1.fc1": LowRankLinear(WIDTH, 4 * WIDTH, 13),
            "layers.1.self_attn.k_proj": LowRankLinear(WIDTH, WIDTH, 1),
        },
    )


def pivoted(speech: SpeechModel) -> None:
    """Chains, narrow scores and dense values, each without the weights that nothing needs."""
    sites = adapter_for(speech.model).attentions(speech.model.get_encoder())
    narrow_scores(speech)
    install_(
        speech.model,
        {
            "layers.0.self_attn.v_proj": LowRankLinear(WIDTH, WIDTH, 9),
            "layers.0.self_attn.out_proj": LowRankLinear(WIDTH, WIDTH, 24),
            "layers.0.fc1": LowRankLinear(WIDTH, 4 * WIDTH, 13),
            "layers.1.self_attn.q_proj": LowRankLinear(WIDTH, WIDTH, 11),
            "layers.1.self_attn.k_proj": LowRankLinear(WIDTH, WIDTH, 16),  # an identity alone
        },
    )
    attention = "layers.{}.self_attn.{}_proj".format
    places = {
        attention(0, "k"): ("heads_out",),
        attention(0, "v"): ("inner",),
        attention(0, "out"): ("inner", "heads_in"),
        "layers.0.fc1": ("inner",),
        attention(1, "q"): ("inner",),
        attention(1, "k"): ("inner", "heads_out"),
        attention(1, "out"): ("heads_in",),
    }
    partners = {s.key: s.query for s in sites} | {s.output: s.value for s in sites}
    pivot_(
        speech.model.get_encoder(),
        [
            PivotedLayer(name=name, pivots=pivots, heads=HEADS, partner=partners.get(name))  # type: ignore[arg-type]
            for name, pivots in places.items()
        ],
    )


def narrow_convolution(speech: SpeechModel) -> None:
    encoder = speech.model.get_encoder()
    chain = empty_chain(encoder.conv2, 21, dtype=torch.float32).to_empty(device="cpu")
    for name, weight in chain.named_parameters():
        nn.init.zeros_(weight) if name.endswith("bias") else nn.init.normal_(weight, std=0.1)
    install_(speech.model, {"conv2": chain})


def pooled(speech: SpeechModel) -> None:
    pool_positions_(speech.model, 1)
    narrow_values(speech)


FORMS: dict[str, Callable[[SpeechModel], None]] = {
    "dense": lambda speech: None,
    "chains": chains,
    "narrow scores": narrow_scores,
    "narrow values": narrow_values,
    "fewer units": fewer_units,
    "fewer units in chains": fewer_units_in_chains,
    "mixed": mixed,
    "pivoted": pivoted,
    "narrow convolution": narrow_convolution,
    "pooled": pooled,
}
MERGEABLE = [name for name in FORMS if name != "pooled"]  # into dense layers
