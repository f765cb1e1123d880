import pytest
import torch

from liteasr.encoders import Observation, Target
from liteasr.lowrank import Spectrum
from liteasr.plan import PRESETS, ThresholdConfig
from liteasr.plan.threshold import plan_by_threshold


def target(name: str = "a", group: str = "attention", width: int = 128) -> Target:
    return Target(
        name=name,
        group=group,  # type: ignore[arg-type]
        block=0,
        in_features=width,
        out_features=width,
        observation=Observation(name, "input"),
    )


def spectrum(rank: int, width: int = 128) -> Spectrum:
    """Exactly `rank` equal variances, and a little of everything else."""
    variances = torch.full((width,), 1e-9, dtype=torch.float64)
    variances[:rank] = 1.0
    return Spectrum(
        mean=torch.zeros(width).double(),
        components=torch.eye(width).double(),
        readers=torch.eye(width).double(),
        variances=variances,
    )


@pytest.mark.parametrize(("planted", "expected"), [(3, 16), (16, 16), (17, 32), (48, 48)])
def test_planted_rank_is_rounded_up_to_a_multiple(planted: int, expected: int) -> None:
    (layer,) = plan_by_threshold([target()], {"a": spectrum(planted)}, ThresholdConfig())
    assert (layer.form, layer.rank) == ("chain", expected)
    assert layer.explained > 0.99


def test_break_even_stays_dense_and_says_so() -> None:
    (layer,) = plan_by_threshold([target()], {"a": spectrum(64)}, ThresholdConfig())
    assert (layer.form, layer.rank) == ("dense", None)
    assert layer.reason == "rank 64 >= break-even 64"


def test_a_threshold_never_reached_stays_dense_and_says_so() -> None:
    config = ThresholdConfig(attention=1.0)
    (layer,) = plan_by_threshold([target()], {"a": spectrum(10)}, config)
    assert layer.form == "dense"
    assert layer.parameters == 128 * 128
    assert "no multiple of 16 keeps more than 1" in layer.reason


def test_groups_have_their_own_thresholds() -> None:
    falling = spectrum(1)
    falling.variances[:] = torch.logspace(0, -6, 128, dtype=torch.float64)
    targets = [target("a", "attention"), target("m", "mlp")]
    config = ThresholdConfig(attention=0.9, mlp=0.9999)
    attention, mlp = plan_by_threshold(targets, {"a": falling, "m": falling}, config)
    assert attention.rank is not None
    assert mlp.rank is None or mlp.rank > attention.rank


def test_lower_thresholds_never_ask_for_higher_ranks() -> None:
    falling = spectrum(1)
    falling.variances[:] = torch.logspace(0, -6, 128, dtype=torch.float64)
    sizes = [
        plan_by_threshold([target()], {"a": falling}, ThresholdConfig(attention=share))[
            0
        ].parameters
        for share in (0.5, 0.9, 0.99, 0.999, 0.9999)
    ]
    assert sizes == sorted(sizes)


def test_presets_fall() -> None:
    shares = [(PRESETS[name].attention, PRESETS[name].mlp) for name in ("acc", "plain", "fast")]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 3


def test_notation_of_the_public_code() -> None:
    assert ThresholdConfig.parse("0.95:0.98") == ThresholdConfig(attention=0.95, mlp=0.98)


@pytest.mark.parametrize("text", ["0.99", "0.99:0.999:1", "a:b", "1.5:0.9", "0.9:0"])
def test_other_notations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"thresholds|must be in"):
        ThresholdConfig.parse(text)


def test_multiples_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple_of"):
        ThresholdConfig(multiple_of=0)
