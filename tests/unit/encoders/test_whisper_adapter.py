from types import SimpleNamespace

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.initialization import no_init_weights

from liteasr.encoders import (
    adapter_for,
    encode,
    encoder_fingerprint,
    encoder_parameters,
    readout_metric,
    run_encoder,
    supported_model_types,
)
from liteasr.errors import UnsupportedModelError

SHAPES = {  # published sizes: width, blocks, heads, encoder parameters without positions
    "tiny": (384, 4, 6, 7.63),
    "base": (512, 6, 8, 19.82),
    "small": (768, 12, 12, 87.00),
    "medium": (1024, 24, 16, 305.68),
}


@pytest.mark.parametrize("size", SHAPES)
def test_encoder_sizes_are_the_published_ones(size: str) -> None:
    width, blocks, heads, millions = SHAPES[size]
    config = WhisperConfig(
        d_model=width,
        encoder_layers=blocks,
        decoder_layers=1,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=64,
    )
    with no_init_weights():
        model = WhisperForConditionalGeneration(config)
    assert round(encoder_parameters(model) / 1e6, 2) == millions


def test_targets_are_every_linear_of_the_encoder(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    encoder = tiny_speech.model.get_encoder()
    targets = adapter_for(tiny_speech.model).targets(encoder)
    linears = {n for n, m in encoder.named_modules() if isinstance(m, torch.nn.Linear)}
    assert {target.name for target in targets} == linears
    assert sum(target.parameter_count for target in targets) == sum(
        encoder.get_submodule(name).weight.numel() for name in linears
    )


def test_q_k_and_v_share_one_observation(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    targets = adapter_for(tiny_speech.model).targets(tiny_speech.model.get_encoder())
    first = {t.name.split(".")[-1]: t.observation for t in targets if t.block == 0}
    assert first["q_proj"] == first["k_proj"] == first["v_proj"]
    assert len({t.observation for t in targets if t.block == 0}) == 4


def test_observed_vectors_are_never_wider_than_the_model(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    for target in adapter_for(tiny_speech.model).targets(tiny_speech.model.get_encoder()):
        side = target.observation.side
        assert (target.in_features if side == "input" else target.out_features) == 64


@pytest.mark.parametrize(("duration_s", "positions"), [(2.0, 100), (30.0, 1500), (0.01, 1)])
def test_valid_positions_are_fifty_a_second(tiny_speech, babble, duration_s, positions) -> None:  # type: ignore[no-untyped-def]
    adapter = adapter_for(tiny_speech.model)
    (window,) = adapter.inputs(tiny_speech.processor, babble(0, duration_s))
    assert window.valid_positions == positions
    assert window.tensors["input_features"].shape == (1, 80, 3000)


def test_long_audio_is_cut_into_windows(tiny_speech, babble) -> None:  # type: ignore[no-untyped-def]
    adapter = adapter_for(tiny_speech.model)
    windows = list(adapter.inputs(tiny_speech.processor, babble(0, 70.0)))
    assert [round(window.duration_s) for window in windows] == [30, 30, 10]
    assert [window.valid_positions for window in windows] == [1500, 1500, 500]


def test_fingerprint_follows_the_weights_alone(make_speech) -> None:  # type: ignore[no-untyped-def]
    one, same, other = make_speech(seed=1), make_speech(seed=1), make_speech(seed=2)
    assert encoder_fingerprint(one.model) == encoder_fingerprint(same.model)
    assert encoder_fingerprint(one.model) != encoder_fingerprint(other.model)
    with torch.no_grad():
        same.model.get_encoder().layers[0].fc1.bias[3] += 1e-3
    assert encoder_fingerprint(one.model) != encoder_fingerprint(same.model)


def test_unknown_architectures_are_named_with_the_known_ones() -> None:
    model = SimpleNamespace(config=SimpleNamespace(model_type="mystery"))
    with pytest.raises(UnsupportedModelError, match=r"'mystery'.*whisper"):
        adapter_for(model)
    assert "whisper" in supported_model_types()


@pytest.mark.parametrize("block", [0, 1])
def test_running_from_a_block_is_running_the_rest(tiny_speech, babble, block: int) -> None:  # type: ignore[no-untyped-def]
    adapter, encoder = adapter_for(tiny_speech.model), tiny_speech.model.get_encoder()
    (window,) = adapter.inputs(tiny_speech.processor, babble(0, 2.0))
    entering: list[torch.Tensor] = []
    name = adapter.blocks(encoder)[block]
    handle = encoder.get_submodule(name).register_forward_pre_hook(
        lambda module, inputs: entering.append(inputs[0])
    )
    expected = run_encoder(encoder, window)
    handle.remove()
    with torch.inference_mode():
        assert torch.equal(adapter.run_from(encoder, block, entering[0]), expected)


def test_the_readout_metric_sees_what_the_decoder_reads(tiny_speech) -> None:  # type: ignore[no-untyped-def]
    model = tiny_speech.model
    error = torch.randn(5, 64, dtype=torch.float64)
    read = adapter_for(model).readout(model).double()
    assert read.shape == (2 * 2 * 64, 64), "keys and values of two layers"
    expected = (error @ read.T).square().sum() / (read.T @ read).diagonal().mean()
    found = (error @ readout_metric(model).double().T).square().sum()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_encoding_is_what_transformers_computes(tiny_speech, babble) -> None:  # type: ignore[no-untyped-def]
    adapter, encoder = adapter_for(tiny_speech.model), tiny_speech.model.get_encoder()
    window = next(adapter.inputs(tiny_speech.processor, babble(0, 2.0)))
    with torch.inference_mode():
        expected = encoder(**window.tensors).last_hidden_state
        assert torch.equal(encode(encoder, window.tensors), expected)


def test_a_cropped_window_has_fewer_positions(tiny_speech, babble) -> None:  # type: ignore[no-untyped-def]
    adapter, encoder = adapter_for(tiny_speech.model), tiny_speech.model.get_encoder()
    window = next(adapter.inputs(tiny_speech.processor, babble(0, 2.0)))
    cropped = adapter.cropped(window, 60)
    assert (window.valid_positions, cropped.valid_positions) == (100, 60)
    with torch.inference_mode():
        whole, entering = (adapter.embed(encoder, w.tensors) for w in (window, cropped))
    # the convolutions at the last position see frames past it
    torch.testing.assert_close(entering[:, :59], whole[:, :59], rtol=1e-5, atol=1e-5)
    assert run_encoder(encoder, cropped).shape == (1, 60, 64)
