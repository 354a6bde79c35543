"""Dropout: what is dropped, how often, and that backward drops the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import CallOrderError, ConfigError
from scratchaudio.nn import Dropout

seeds = st.integers(0, 2**32 - 1)
shapes = st.permutations([1, 2, 3, 4, 5]).map(lambda p: tuple(p[:3]))
shares = st.floats(0.0, 0.95)


@given(shape=shapes, p=shares, seed=seeds)
def test_each_entry_is_0_or_scaled_by_one_over_one_minus_p(shape, p, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    layer = Dropout(p, rng)
    y = layer.forward(x)
    dx = layer.backward(dy)
    p = round(65536 * p) / 65536  # 16 random bits know no finer shares
    for index in np.ndindex(shape):
        if y[index] == 0:
            assert dx[index] == 0, "backward passes what forward dropped"
        else:
            assert y[index] == pytest.approx(x[index] / (1 - p), rel=1e-14)
            assert dx[index] == pytest.approx(dy[index] / (1 - p), rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_dropped_is_p_within_binomial_bounds(p, dtype):
    """n draws: the count's standard deviation is sqrt(n p (1 - p)); six of them, for each axis."""
    shape = (300, 400)
    y = Dropout(p, rng=1).forward(np.ones(shape, dtype))
    assert y.dtype == dtype
    dropped = y == 0
    for axis, n in ((None, y.size), (0, shape[0]), (1, shape[1])):
        bound = 6 * math.sqrt(p * (1 - p) / n)
        assert abs(dropped.mean(axis=axis) - p).max() <= bound
    # Neighbours are dropped independently: both with probability p^2.
    both = (dropped[:, 1:] & dropped[:, :-1]).mean()
    assert abs(both - p * p) <= 6 * math.sqrt(p * p * (1 - p * p) / y.size)


@pytest.mark.parametrize("p", [0.999, 1 - 2**-20])
def test_a_share_near_1_keeps_the_expectation(p):
    y = Dropout(p, rng=1).forward(np.ones(2**22))
    assert y.any()
    assert abs(y.mean() - 1) <= 6 * y.max() ** 0.5 / 2**11


def test_expectation_stays():
    """The mean of many draws is x: to six standard deviations, sqrt(p / (1 - p) / n) of x each."""
    rng, p, n = np.random.default_rng(0), 0.3, 4000
    x = rng.standard_normal((3, 5))
    layer = Dropout(p, rng)
    mean = sum(layer.forward(x) for _ in range(n)) / n
    assert (abs(mean - x) <= 6 * abs(x) * math.sqrt(p / (1 - p) / n)).all()


@given(shape=shapes, p=shares, seed=seeds)
def test_evaluation_is_the_identity_and_draws_nothing(shape, p, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    before = rng.bit_generator.state
    np.testing.assert_array_equal(Dropout(p, rng).eval().forward(x), x)
    assert rng.bit_generator.state == before


def test_p_0_is_the_identity_in_training_too():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 5))
    before = rng.bit_generator.state
    layer = Dropout(0, rng)
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(dy), dy)
    assert rng.bit_generator.state == before
    with pytest.raises(CallOrderError):
        layer.backward(dy)


def test_one_seed_one_mask_and_another_mask_at_the_next_call():
    x = np.ones((20, 30), np.float32)
    first, second = Dropout(0.5, rng=3), Dropout(0.5, rng=np.random.default_rng(3))
    y = first.forward(x)
    np.testing.assert_array_equal(second.forward(x), y)
    assert not np.array_equal(first.forward(x), y)
    assert not np.array_equal(Dropout(0.5, rng=4).forward(x), y)


def test_backward_uses_its_own_forwards_mask():
    layer, x = Dropout(0.5, rng=0), np.ones((20, 30), np.float32)
    layer.forward(x)
    y = layer.forward(x)
    np.testing.assert_array_equal(layer.backward(x), y)


def test_p_is_a_tenth_unless_it_is_given():
    assert Dropout().p == 0.1


def test_no_steps_are_no_error():
    layer = Dropout(0.5, rng=0)
    assert layer.forward(np.ones((2, 0, 3), np.float32)).shape == (2, 0, 3)


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, math.nan])
def test_p_is_checked(p):
    with pytest.raises(ConfigError, match=rf"p must lie in 0\.\.1 \(1 excluded\), got {p}"):
        Dropout(p)
