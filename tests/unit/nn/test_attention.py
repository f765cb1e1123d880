import pytest
import torch
from torch import nn

from liteasr.nn import LowRankLinear, LowRankSelfAttention


def attention(qk: int, v: int, *, heads: int = 4, width: int = 32) -> LowRankSelfAttention:
    return LowRankSelfAttention(
        q_proj=nn.Linear(width, heads * qk),
        k_proj=nn.Linear(width, heads * qk, bias=False),
        v_proj=nn.Linear(width, heads * v),
        out_proj=nn.Linear(heads * v, width),
        heads=heads,
        scaling=0.3,
    )


@pytest.mark.parametrize(("qk", "v"), [(8, 8), (3, 8), (8, 5), (1, 1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_agrees_with_attention_written_out(qk: int, v: int, batch: int) -> None:
    module = attention(qk, v)
    x = torch.randn(batch, 11, 32)
    q, k, values = (
        layer(x).view(batch, 11, 4, -1).transpose(1, 2)
        for layer in (module.q_proj, module.k_proj, module.v_proj)
    )
    shares = (0.3 * q @ k.mT).softmax(-1)
    expected = module.out_proj((shares @ values).transpose(1, 2).reshape(batch, 11, -1))
    found, weights = module(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert weights is None


def test_masked_positions_are_not_seen() -> None:
    module = attention(3, 8)
    x = torch.randn(1, 11, 32)
    mask = torch.zeros(1, 1, 11, 11).index_fill(-1, torch.arange(7, 11), float("-inf"))
    found, _ = module(x, attention_mask=mask)
    torch.testing.assert_close(found[:, :7], module(x[:, :7])[0], rtol=1e-5, atol=1e-6)


def test_layers_may_be_chains_and_options_of_others_are_ignored() -> None:
    module = attention(8, 8)
    module.v_proj = LowRankLinear(32, 32, 6)
    found, _ = module(hidden_states=torch.randn(2, 5, 32), output_attentions=False)
    assert found.shape == (2, 5, 32)
    found.sum().backward()
    assert module.v_proj.down.weight.grad is not None
