"""A packed encoder is the encoder, in one graph."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from liteasr.encoders import WhisperAdapter, encode, pack_encoder, pool_positions_
from liteasr.errors import UnsupportedModelError
from liteasr.nn import LowRankLinear, LowRankSelfAttention
from liteasr.sources import SpeechModel

ROLES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")


def reduced(speech: SpeechModel, *, joint: bool) -> SpeechModel:
    """Random chains everywhere, or narrower heads in the last block."""
    encoder = WhisperAdapter().encoder(speech.model)
    width = speech.model.config.d_model
    for layer in encoder.layers:
        for role, rank in zip((*ROLES, "fc1", "fc2"), (8, 8, 12, 24, 40, 40), strict=True):
            path, _, name = role.rpartition(".")
            old = layer.get_submodule(role)
            chain = LowRankLinear(old.in_features, old.out_features, rank)
            setattr(layer.get_submodule(path), name, chain)
    if joint:
        made = {name: torch.nn.Linear(width, 4 * 5) for name in ("q_proj", "k_proj")}
        made |= {"v_proj": torch.nn.Linear(width, 4 * 7), "out_proj": torch.nn.Linear(28, width)}
        encoder.layers[-1].self_attn = LowRankSelfAttention(**made, heads=4, scaling=0.25)
    speech.model.eval()
    return speech


@pytest.mark.parametrize("form", ["dense", "chains", "joint", "pooled"])
@pytest.mark.parametrize("frames", [80, 7])
@torch.inference_mode()
def test_packing_changes_nothing(
    form: str, frames: int, make_speech: Callable[..., SpeechModel]
) -> None:
    speech = make_speech()
    if form == "pooled":
        pool_positions_(speech.model, 1)
    elif form != "dense":
        speech = reduced(speech, joint=form == "joint")
    features = torch.randn(2, speech.model.config.num_mel_bins, frames)
    expected = encode(WhisperAdapter().encoder(speech.model), {"input_features": features})
    found = pack_encoder(speech.model)(features)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_kernels_take_the_place_of_products(make_speech: Callable[..., SpeechModel]) -> None:
    speech = reduced(make_speech(blocks=1), joint=False)
    features = torch.randn(1, speech.model.config.num_mel_bins, 40)
    expected = pack_encoder(speech.model, attention="eager")(features)
    found = pack_encoder(speech.model, attention="triton")(features)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_half_precision_does_not_overflow(make_speech: Callable[..., SpeechModel]) -> None:
    speech = make_speech(blocks=1)
    block = pack_encoder(speech.model.half()).blocks[0]
    block.fc2.bias.fill_(60_000.0)  # type: ignore[union-attr, operator]
    found = block(torch.full((1, 3, 64), 30_000.0, dtype=torch.float16))
    assert torch.isfinite(found).all()
    assert found.max() == torch.finfo(torch.float16).max - 1000 + 8  # rounded to 16 bits


def test_other_encoders_are_refused() -> None:
    model = SimpleNamespace(config=SimpleNamespace(model_type="moonshine"))
    with pytest.raises(UnsupportedModelError, match=r"with GELU can be packed.*'moonshine'"):
        pack_encoder(model)


@pytest.mark.parametrize("kernels", [False, True])
@torch.inference_mode()
def test_the_whole_encoder_is_one_graph_to_the_compiler(
    kernels: bool, make_speech: Callable[..., SpeechModel]
) -> None:
    speech = reduced(make_speech(blocks=1), joint=False)
    packed = pack_encoder(speech.model, attention="triton" if kernels else "auto")
    features = torch.randn(1, speech.model.config.num_mel_bins, 24)
    torch.compiler.reset()
    compiled = torch.compile(packed, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features), packed(features), rtol=1e-5, atol=1e-6)
