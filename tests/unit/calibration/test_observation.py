import pytest
import torch
from torch import nn

from liteasr.calibration import observing
from liteasr.encoders import Observation
from liteasr.lowrank import Moments


@pytest.fixture
def encoder() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 4))


PLACES = (Observation("0", "input"), Observation("2", "output"), Observation("0", "input"))


def test_observed_moments_are_those_of_the_activations(encoder: nn.Module) -> None:
    x = torch.randn(2, 9, 8)
    with observing(encoder, PLACES) as moments:
        y = encoder(x)
    assert set(moments) == {"0.input", "2.output"}
    torch.testing.assert_close(moments["0.input"].covariance, Moments.of(x).covariance)
    torch.testing.assert_close(moments["2.output"].mean, Moments.of(y).mean)
    assert moments["0.input"].count == 18


def test_only_leading_positions_count(encoder: nn.Module) -> None:
    x = torch.randn(1, 9, 8)
    with observing(encoder, PLACES, positions=4) as moments:
        encoder(x)
    torch.testing.assert_close(moments["0.input"].total, Moments.of(x[:, :4]).total)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_hooks_are_given_back(encoder: nn.Module, error: type | None) -> None:
    def run() -> None:
        with observing(encoder, PLACES):
            encoder(torch.randn(1, 3, 8))
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in encoder.modules())


def test_a_wrong_place_leaves_no_hooks_behind(encoder: nn.Module) -> None:
    places = (Observation("0", "input"), Observation("missing", "input"))
    with pytest.raises(AttributeError, match="missing"), observing(encoder, places):
        pass
    assert not any(m._forward_pre_hooks for m in encoder.modules())
