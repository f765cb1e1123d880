"""Packed modules put out what the modules they are made of put out."""

import pytest
import torch
from torch import nn

from liteasr.nn import LowRankLinear, LowRankSelfAttention, PackedSelfAttention, StackedProjections

WIDTH, HEADS = 32, 4


def layer(rank: int | None, *, out: int = WIDTH, bias: bool = True) -> nn.Module:
    made = nn.Linear(WIDTH, out, bias) if rank is None else LowRankLinear(WIDTH, out, rank)
    return made.double()


@pytest.mark.parametrize("bias", [True, False])
def test_stacked_layers_give_their_own_outputs(bias: bool) -> None:
    layers = [layer(5), layer(None, out=7, bias=bias), layer(9, out=3)]
    x = torch.randn(2, 6, WIDTH, dtype=torch.float64)
    stacked = StackedProjections(layers)
    assert (stacked.first.bias is not None) == bias
    for made, found in zip(layers, stacked(x), strict=True):
        torch.testing.assert_close(found, made(x), rtol=1e-12, atol=1e-12)
    inner, _, closed = StackedProjections(layers, open_chains=(0,))(x)
    torch.testing.assert_close(inner, layers[0].down(x), rtol=1e-12, atol=1e-12)  # type: ignore[operator, union-attr]
    assert closed.shape == (2, 6, 3)


def test_only_linear_layers_are_stacked() -> None:
    with pytest.raises(TypeError, match="only dense layers and chains can be stacked, got GELU"):
        StackedProjections([layer(3), nn.GELU()])


@pytest.mark.parametrize(
    ("ranks", "folded"),
    [
        ((None, None, None, None), []),
        ((4, 6, 5, 12), ["score", "value"]),
        ((20, 6, 12, None), ["score"]),
        ((6, 12, 3, None), ["value"]),
        ((6, None, None, 9), []),
        ((None, 6, None, 9), []),
    ],
)
def test_packed_attention_is_the_same_attention(
    ranks: tuple[int | None, ...], folded: list[str]
) -> None:
    query, key, value, output = (layer(rank) for rank in ranks)
    own = LowRankSelfAttention(
        q_proj=query, k_proj=key, v_proj=value, out_proj=output, heads=HEADS, scaling=0.3
    )
    packed = PackedSelfAttention(
        q_proj=query, k_proj=key, v_proj=value, out_proj=output, heads=HEADS, scaling=0.3
    )
    x = torch.randn(2, 11, WIDTH, dtype=torch.float64)
    mask = torch.rand(2, 1, 11, 11) > 0.3
    torch.testing.assert_close(packed(x)[0], own(x)[0], rtol=1e-10, atol=1e-11)
    found, weights = packed(hidden_states=x, attention_mask=mask, output_attentions=False)
    torch.testing.assert_close(found, own(x, mask)[0], rtol=1e-10, atol=1e-11)
    assert weights is None
    assert f"folded={folded}" in repr(packed)
    assert all(name.startswith(("projections.", "out_proj.")) for name in packed.state_dict())


def test_narrower_heads_are_packed() -> None:
    layers = {"q_proj": layer(None, out=4 * 3), "k_proj": layer(None, out=4 * 3)}
    layers |= {"v_proj": layer(None, out=4 * 5), "out_proj": nn.Linear(20, WIDTH).double()}
    own = LowRankSelfAttention(**layers, heads=HEADS, scaling=0.3)
    packed = PackedSelfAttention(**layers, heads=HEADS, scaling=0.3)
    x = torch.randn(2, 11, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(packed(x)[0], own(x)[0], rtol=1e-10, atol=1e-11)
