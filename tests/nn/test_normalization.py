"""LayerNorm: values against a literal loop, what it does not see, gradients, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import LayerNorm
from scratchaudio.nn.gradcheck import check_gradients

seeds = st.integers(0, 2**32 - 1)
shapes = st.permutations([2, 3, 4, 5, 6]).map(lambda p: tuple(p[:3]))


def drawn(shape, seed, eps=1e-5):
    """A float64 layer with gamma and beta off their initial values, and x."""
    rng = np.random.default_rng(seed)
    layer = LayerNorm(shape[-1], eps).astype(np.float64)
    for parameter in layer.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape)
    return layer, rng.standard_normal(shape), rng


def by_hand(row, gamma, beta, eps):
    """One row, number by number."""
    F = len(row)
    mean = sum(row) / F
    variance = sum((value - mean) ** 2 for value in row) / F
    return [gamma[i] * (row[i] - mean) / math.sqrt(variance + eps) + beta[i] for i in range(F)]


@given(shape=shapes, seed=seeds, n_axes=st.integers(1, 3), eps=st.sampled_from([1e-5, 0.5]))
def test_equals_the_literal_loop(shape, seed, n_axes, eps):
    layer, x, _ = drawn(shape[-n_axes:], seed, eps)
    y = layer.forward(x)
    gamma, beta = layer.gamma.value, layer.beta.value
    for index in np.ndindex(x.shape[:-1]):
        expected = by_hand(x[index].tolist(), gamma.tolist(), beta.tolist(), eps)
        np.testing.assert_allclose(y[index], expected, rtol=0, atol=1e-13)


@given(shape=shapes, seed=seeds, eps=st.sampled_from([1e-5, 0.5]))
def test_gradients(shape, seed, eps):
    layer, x, rng = drawn(shape, seed, eps)
    assert check_gradients(layer, x, rng=rng, may_vanish=("x",)) <= 1e-11


def spread_rows(shape, rng):
    """Rows of 0 ... F - 1 in any order: random, but of a variance that is never small."""
    return rng.permuted(np.broadcast_to(np.arange(float(shape[-1])), shape), axis=-1)


@given(shape=shapes, seed=seeds, shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_shift_and_scale_of_a_row_change_nothing(shape, seed, shift, scale):
    """Exactly so but for eps, which is all but 0 here."""
    layer, _, rng = drawn(shape, seed, eps=1e-20)
    x = spread_rows(shape, rng)
    np.testing.assert_allclose(layer.forward(scale * x + shift), layer.forward(x), atol=1e-10)


@given(shape=shapes, seed=seeds)
def test_dx_has_nothing_along_one_and_along_x_hat(shape, seed):
    layer, _, rng = drawn(shape, seed, eps=1e-20)
    x = spread_rows(shape, rng)
    layer.forward(x)
    dx = layer.backward(rng.standard_normal(shape))
    centred = x - x.mean(axis=-1, keepdims=True)
    assert abs(dx.sum(axis=-1)).max() <= 1e-12
    assert abs((dx * centred).sum(axis=-1)).max() <= 1e-12


def test_a_new_layer_gives_mean_0_and_variance_1():
    x = 3 + 5 * np.random.default_rng(0).standard_normal((4, 7, 50)).astype(np.float32)
    y = LayerNorm(50).forward(x)
    assert abs(y.mean(axis=-1)).max() <= 1e-6
    np.testing.assert_allclose(y.var(axis=-1), 1, atol=1e-5)


def test_a_constant_row_gives_beta_and_finite_gradients():
    layer = LayerNorm(4)
    layer.beta.value[...] = [1, 2, 3, 4]
    x = np.full((2, 3, 4), 7, np.float32)
    np.testing.assert_array_equal(layer.forward(x), np.broadcast_to([1, 2, 3, 4], x.shape))
    assert np.isfinite(layer.backward(np.arange(24, dtype=np.float32).reshape(2, 3, 4))).all()


def test_a_large_mean_does_not_drown_the_variance():
    """E x^2 - (E x)^2 would lose all digits of float32 here."""
    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    shifted = (x + 4096).astype(np.float32)
    expected = LayerNorm(64).forward(shifted - np.float32(4096))
    np.testing.assert_allclose(LayerNorm(64).forward(shifted), expected, atol=2e-3)


def test_no_row_sees_another():
    layer, x, rng = drawn((3, 4, 5), 0)
    y = layer.forward(x)
    other = x.copy()
    other[1, 2] = rng.standard_normal(5)
    changed = (layer.forward(other) != y).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[1, 2]]


def test_errors():
    with pytest.raises(ConfigError, match="n_features must be an integer of at least 1, got 0"):
        LayerNorm(0)
    for eps in (0, -1e-5, math.nan):
        with pytest.raises(ConfigError, match=f"eps must be positive, got {eps}"):
            LayerNorm(3, eps)
    with pytest.raises(ShapeError, match=r"x of LayerNorm must have shape \(\.\.\., 3\), got \(2"):
        LayerNorm(3).forward(np.ones((2, 4), np.float32))
    with pytest.raises(ShapeError, match=r"got \(\)"):
        LayerNorm(1).forward(np.float32(1))


def test_gradients_of_the_parameters_add_up():
    layer, x, rng = drawn((3, 4, 5), 0)
    dy = rng.standard_normal(x.shape)
    once = []
    for passes in (1, 2):
        layer.forward(x)
        layer.backward(dy)
        once.append([parameter.grad / passes for parameter in layer.parameters()])
    np.testing.assert_allclose(once[1], once[0], rtol=1e-13)
