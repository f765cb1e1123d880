"""The forms that the encoder of a tiny Whisper may have been brought into, with random weights."""

from collections.abc import Callable

from torch import nn

from liteasr.compression import install_
from liteasr.encoders import adapter_for, pool_positions_
from liteasr.nn import LowRankLinear
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


def pooled(speech: SpeechModel) -> None:
    pool_positions_(speech.model, 1)
    narrow_values(speech)


FORMS: dict[str, Callable[[SpeechModel], None]] = {
    "dense": lambda speech: None,
    "chains": chains,
    "narrow scores": narrow_scores,
    "narrow values": narrow_values,
    "fewer units": fewer_units,
    "mixed": mixed,
    "pooled": pooled,
}
MERGEABLE = [name for name in FORMS if name != "pooled"]  # into dense layers
