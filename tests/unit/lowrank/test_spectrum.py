import pytest
import torch
from torch import nn

from liteasr.lowrank import Gradients, Metric, Moments, Spectrum


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("in_features", "out_features"), [(12, 12), (8, 30), (30, 8)])
def test_input_and_output_moments_give_the_same_spectrum(
    in_features: int, out_features: int, bias: bool
) -> None:
    layer = nn.Linear(in_features, out_features, bias=bias).double()
    inputs = torch.randn(400, in_features, dtype=torch.float64) + 1
    direct = Spectrum.from_output_moments(Moments.of(layer(inputs)))
    through = Spectrum.from_input_moments(Moments.of(inputs), layer.weight, layer.bias)
    n = min(in_features, out_features)
    torch.testing.assert_close(direct.variances[:n], through.variances[:n], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(direct.mean, through.mean)
    projector = direct.components[:, :n] @ direct.components[:, :n].T
    other = through.components[:, :n] @ through.components[:, :n].T
    torch.testing.assert_close(projector, other, rtol=1e-6, atol=1e-7)


def test_streamed_moments_give_the_variances_of_a_stored_svd() -> None:
    outputs = torch.randn(1000, 20, dtype=torch.float64) @ torch.randn(20, 20).double() + 5
    spectrum = Spectrum.from_output_moments(Moments.of(outputs))
    singular = torch.linalg.svdvals(outputs - outputs.mean(0))
    stored = singular.square() / len(outputs)
    assert (spectrum.variances - stored).abs().max() / stored[0] < 1e-13


def test_components_are_orthonormal_and_sorted() -> None:
    spectrum = Spectrum.from_output_moments(Moments.of(torch.randn(300, 10)))
    gram = spectrum.components.T @ spectrum.components
    torch.testing.assert_close(gram, torch.eye(10, dtype=torch.float64))
    assert (spectrum.variances.diff() <= 0).all()
    assert (spectrum.variances >= 0).all()


@pytest.mark.parametrize("metric", [None, "diagonal"])
def test_some_outputs_have_a_spectrum_of_their_own(metric: str | None) -> None:
    outputs = torch.randn(500, 8, dtype=torch.float64) @ torch.randn(8, 30, dtype=torch.float64)
    gradients = torch.rand(30, dtype=torch.float64) + 0.1
    known = Metric.of(Gradients(1, gradients)) if metric else None
    whole = Spectrum.from_output_moments(Moments.of(outputs), known).truncated(8)
    which = torch.tensor([2, 3, 5, 7, 11, 13, 17, 19, 23, 29])
    # the metric's mean is that of all outputs, so a metric of some needs the same roots
    some = Metric(root=known.root[which], inverse=known.inverse[which]) if known else None
    direct = Spectrum.from_output_moments(Moments.of(outputs[:, which]), some)
    found = whole.of_outputs(which)
    torch.testing.assert_close(found.variances, direct.variances[:8], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.mean, direct.mean)
    rank = 5
    mine, theirs = (s.components[:, :rank] @ s.readers[:, :rank].T for s in (found, direct))
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(whole.energies.sum(0), whole.variances[:8])
    of_all_outputs = whole.energies[which, rank:].sum()
    assert found.variances[rank:].sum() < of_all_outputs


def test_an_output_that_never_moves_leaves_the_others_as_they_are() -> None:
    outputs = torch.randn(200, 6, dtype=torch.float64)
    outputs[:, 4] = 3.0
    whole = Spectrum.from_output_moments(Moments.of(outputs)).truncated(5)
    found = whole.of_outputs(torch.tensor([1, 4, 5]))
    assert torch.isfinite(found.components).all()
    assert torch.isfinite(found.readers).all()
    assert found.variances[-1] < 1e-12


def test_explained_share_rises_to_one() -> None:
    spectrum = Spectrum.from_output_moments(Moments.of(torch.randn(300, 10)))
    shares = [spectrum.explained(rank) for rank in range(11)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)


def test_effective_rank_counts_equal_directions() -> None:
    basis = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64)).Q[:, :4]
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    spectrum = Spectrum.from_output_moments(Moments.of(signs @ basis.T))
    assert spectrum.effective_rank() == pytest.approx(4)


def test_a_constant_output_is_explained_by_nothing_at_all() -> None:
    spectrum = Spectrum.from_output_moments(Moments.of(torch.zeros(50, 4)))
    assert spectrum.explained(0) == 1
    assert spectrum.effective_rank() == 0


def test_truncation_keeps_every_variance() -> None:
    spectrum = Spectrum.from_output_moments(Moments.of(torch.randn(300, 10)))
    cut = spectrum.truncated(3)
    assert cut.components.shape == (10, 3)
    assert cut.explained(7) == spectrum.explained(7)
