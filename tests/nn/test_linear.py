"""Linear against four loops, and its gradients over drawn shapes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import Linear
from scratchaudio.nn.gradcheck import adjoint_error, check_gradients

sizes = st.lists(st.integers(2, 6), min_size=4, max_size=4, unique=True)


@given(sizes=sizes, n_axes=st.integers(1, 3), bias=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_gradients(sizes, n_axes, bias, seed):
    rng = np.random.default_rng(seed)
    *leading, n_in, n_out = sizes
    layer = Linear(n_in, n_out, bias=bias, rng=rng)
    x = rng.standard_normal((*leading[: n_axes - 1], n_in))
    assert check_gradients(layer, x, rng=rng) <= 1e-11


def test_values_against_loops():
    rng = np.random.default_rng(0)
    layer = Linear(3, 5, rng=rng, dtype=np.float64)
    x, dy = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 5))
    y = np.zeros((4, 2, 5))
    dx, dW, db = np.zeros_like(x), np.zeros((3, 5)), np.zeros(5)
    for n, t, j in np.ndindex(4, 2, 5):
        y[n, t, j] = layer.b.value[j]
        db[j] += dy[n, t, j]
        for i in range(3):
            y[n, t, j] += x[n, t, i] * layer.W.value[i, j]
            dx[n, t, i] += dy[n, t, j] * layer.W.value[i, j]
            dW[i, j] += dy[n, t, j] * x[n, t, i]
    np.testing.assert_allclose(layer.forward(x), y, rtol=0, atol=1e-14)
    np.testing.assert_allclose(layer.backward(dy), dx, rtol=0, atol=1e-14)
    np.testing.assert_allclose(layer.W.grad, dW, rtol=0, atol=1e-14)
    np.testing.assert_allclose(layer.b.grad, db, rtol=0, atol=1e-14)


@given(sizes=sizes, seed=st.integers(0, 2**32 - 1))
def test_backward_is_the_adjoint_of_forward(sizes, seed):
    rng = np.random.default_rng(seed)
    B, T, n_in, n_out = sizes
    layer = Linear(n_in, n_out, bias=False, rng=rng, dtype=np.float64)
    x, dy = rng.standard_normal((B, T, n_in)), rng.standard_normal((B, T, n_out))
    assert adjoint_error(layer.forward, layer.backward, x, dy) <= 1e-14


def test_one_vector_without_batch():
    layer = Linear(3, 5, rng=0)
    x = np.arange(3, dtype=np.float32)
    np.testing.assert_allclose(layer.forward(x), layer.forward(x[None])[0], rtol=1e-6)
    layer.forward(x)
    assert layer.backward(np.ones(5, np.float32)).shape == (3,)


def test_initial_weights_are_bounded_as_in_torch():
    layer = Linear(400, 300, rng=0)
    for parameter in layer.parameters():
        assert 0.98 / math.sqrt(400) <= abs(parameter.value).max() <= 1 / math.sqrt(400)


def test_errors_name_what_came_and_what_is_due():
    with pytest.raises(
        ShapeError, match=r"x of Linear must have shape \(\.\.\., 3\), got \(4, 5\)"
    ):
        Linear(3, 5, rng=0).forward(np.ones((4, 5), np.float32))
    with pytest.raises(ShapeError, match=r"got \(\)"):
        Linear(3, 5, rng=0).forward(np.float32(1))
    for n_in, n_out, name in ((0, 5, "n_in"), (3, -1, "n_out"), (3, 2.0, "n_out")):
        with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1"):
            Linear(n_in, n_out)
