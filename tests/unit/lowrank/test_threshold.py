import pytest
import torch

from liteasr.lowrank import rank_for_share


def variances(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2), (0.69, 2), (0.70, 4), (0.89, 4), (0.95, 6)]
)
def test_smallest_multiple_that_passes(share: float, expected: int) -> None:
    spectrum = variances(0.4, 0.3, 0.1, 0.1, 0.06, 0.04)
    assert rank_for_share(spectrum, share, multiple_of=2) == expected


def test_a_share_never_passed_is_none_and_not_a_larger_layer() -> None:
    assert rank_for_share(variances(0.5, 0.5), 1.0, multiple_of=1) is None


def test_dimension_between_multiples_cannot_round_up_past_itself() -> None:
    assert rank_for_share(torch.ones(20, dtype=torch.float64), 0.9) is None


def test_planted_rank_is_found() -> None:
    spectrum = torch.zeros(64, dtype=torch.float64)
    spectrum[:32] = 1.0
    assert rank_for_share(spectrum, 0.999) == 32


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_shares_outside_the_unit_interval_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        rank_for_share(variances(1.0), share)


def test_multiples_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple_of"):
        rank_for_share(variances(1.0), 0.9, multiple_of=0)
