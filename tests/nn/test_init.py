"""Initialisers: bounds and moments of many draws, orthogonality, and one rng for one result."""

import math

import numpy as np
import pytest

from scratchaudio.errors import ShapeError
from scratchaudio.nn import kaiming_normal, orthogonal, uniform, xavier_uniform

SHAPE = (150, 100)
DRAWS = [
    # name, draw, variance, bound (None: unbounded)
    ("uniform", lambda **kw: uniform(SHAPE, 150, **kw), 1 / 450, 1 / math.sqrt(150)),
    (
        "xavier_uniform",
        lambda **kw: xavier_uniform(SHAPE, 150, 100, **kw),
        2 / 250,
        math.sqrt(6 / 250),
    ),
    ("kaiming_normal", lambda **kw: kaiming_normal(SHAPE, 150, **kw), 2 / 150, None),
    ("orthogonal", lambda **kw: orthogonal(SHAPE, **kw), 1 / 150, 1),
]
ids = [name for name, *_ in DRAWS]


@pytest.mark.parametrize(("name", "draw", "variance", "bound"), DRAWS, ids=ids)
def test_moments_and_bounds(name, draw, variance, bound):
    weights = draw(rng=0)
    assert weights.shape == SHAPE
    # 15,000 draws: the mean has a standard error of sqrt(variance / 15000), here allowed 5
    assert abs(weights.mean(dtype=float)) <= 5 * math.sqrt(variance / weights.size)
    assert weights.var(dtype=float) == pytest.approx(variance, rel=0.05)
    if bound is not None:
        largest = abs(weights).max()
        assert largest <= bound * (1 + 1e-6)
        assert name == "orthogonal" or largest >= 0.99 * bound


@pytest.mark.parametrize(("name", "draw", "variance", "bound"), DRAWS, ids=ids)
def test_dtype_and_rng(name, draw, variance, bound):
    assert draw().dtype == np.float32
    double = draw(rng=7, dtype=np.float64)
    assert double.dtype == np.float64
    assert np.array_equal(double, draw(rng=np.random.default_rng(7), dtype=np.float64))
    assert np.array_equal(double.astype(np.float32), draw(rng=7))
    assert not np.array_equal(draw(rng=8), draw(rng=7))


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4)])
def test_orthogonal_rows_or_columns(shape):
    Q = orthogonal(shape, rng=0, dtype=np.float64)
    product = Q.T @ Q if shape[0] >= shape[1] else Q @ Q.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-14)


def test_orthogonal_is_uniform():
    """Without the sign correction Q's diagonal is biased: LAPACK's R has one sign more often."""
    corners = [orthogonal((2, 2), rng=seed, dtype=np.float64)[0, 0] for seed in range(400)]
    assert abs(np.mean(corners)) <= 5 * math.sqrt(0.5 / 400)


def test_orthogonal_needs_a_matrix():
    with pytest.raises(ShapeError, match=r"must have 2 sizes, got \(2, 3, 4\)"):
        orthogonal((2, 3, 4))


def test_signal_keeps_its_variance_through_fifty_layers():
    """What the module docstring promises: kaiming for ReLU, orthogonal for no activation."""
    rng = np.random.default_rng(0)
    relu = linear = rng.standard_normal((64, 100))
    for _ in range(50):
        relu = np.maximum(relu @ kaiming_normal((100, 100), 100, rng, np.float64), 0)
        linear = linear @ orthogonal((100, 100), rng, np.float64)
    assert 0.2 <= np.mean(relu**2) <= 5
    assert np.mean(linear**2) == pytest.approx(1, rel=0.05)
