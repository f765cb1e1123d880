import pytest
import torch

from liteasr.lowrank import Moments


def assert_same(a: Moments, b: Moments) -> None:
    assert a.count == b.count
    torch.testing.assert_close(a.total, b.total, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(a.products, b.products, rtol=1e-12, atol=1e-9)


def test_order_of_merging_does_not_matter() -> None:
    parts = [Moments.of(torch.randn(n, 6)) for n in (1, 17, 40)]
    a, b, c = parts
    assert_same((a + b) + c, c + (b + a))


def test_streaming_equals_all_at_once() -> None:
    vectors = torch.randn(100, 5) + 3
    streamed = Moments.empty(5)
    for chunk in vectors.split([1, 30, 69]):
        streamed.update_(chunk)
    assert_same(streamed, Moments.of(vectors))


def test_mean_and_covariance_are_those_of_the_vectors() -> None:
    vectors = torch.randn(200, 4, dtype=torch.float64) * 2 + 100
    moments = Moments.of(vectors)
    torch.testing.assert_close(moments.mean, vectors.mean(0))
    expected = torch.cov(vectors.T, correction=0)
    torch.testing.assert_close(moments.covariance, expected, rtol=1e-9, atol=1e-9)


def test_leading_axes_are_frames_and_statistics_are_float64() -> None:
    moments = Moments.of(torch.randn(2, 3, 4, dtype=torch.bfloat16))
    assert moments.count == 6
    assert moments.total.dtype == moments.products.dtype == torch.float64


def test_memory_does_not_grow_with_frames() -> None:
    moments = Moments.of(torch.randn(10, 4))
    storage = moments.products.data_ptr()
    moments.update_(torch.randn(1000, 4))
    assert moments.products.data_ptr() == storage
    assert moments.products.shape == (4, 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_value_is_noticed(bad: float) -> None:
    vectors = torch.randn(10, 3)
    assert Moments.of(vectors).is_finite()
    vectors[7, 1] = bad
    assert not Moments.of(vectors).is_finite()


def test_no_vectors_have_no_mean() -> None:
    with pytest.raises(ValueError, match="0 vectors"):
        _ = Moments.empty(3).mean


def test_activations_are_not_kept_alive_by_autograd() -> None:
    vectors = torch.randn(5, 3, requires_grad=True)
    moments = Moments.of(vectors * 2)
    assert not moments.products.requires_grad
