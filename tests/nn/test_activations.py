"""Activations: values against exact formulas, gradients, extremes, and what happens at kinks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import nn
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn.gradcheck import check_gradients, fourth_order_difference

SMOOTH = [nn.Sigmoid, nn.Tanh, nn.Softplus, nn.GELU, nn.GELUTanh, nn.Softmax]
KINKED = [nn.ReLU, nn.LeakyReLU, lambda: nn.LeakyReLU(0.3), lambda: nn.LeakyReLU(0.0)]
FUNCTIONS = [
    nn.sigmoid,
    nn.softplus,
    nn.log_sigmoid,
    nn.softmax,
    nn.log_softmax,
    nn.logsumexp,
    nn.relu,
    nn.leaky_relu,
    nn.gelu,
    nn.gelu_tanh,
]
shapes = st.lists(st.integers(2, 5), min_size=1, max_size=3, unique=True)
seeds = st.integers(0, 2**32 - 1)


# Gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", SMOOTH)
@given(shape=shapes, seed=seeds, scale=st.floats(0.1, 4))
def test_gradients(make, shape, seed, scale):
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal(shape)
    assert check_gradients(make(), x, rng=rng, may_vanish=("x",)) <= 1e-11


@pytest.mark.parametrize("make", KINKED)
@given(shape=shapes, seed=seeds)
def test_gradients_beside_the_kink(make, shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.choice([-1, 1], shape) * rng.uniform(1e-2, 3, shape)
    method = fourth_order_difference
    assert check_gradients(make(), x, rng=rng, method=method, may_vanish=("x",)) <= 1e-7


@pytest.mark.parametrize(("make", "slope"), [(nn.ReLU, 0), (lambda: nn.LeakyReLU(0.3), 0.3)])
def test_slope_at_the_kink_is_that_of_the_left(make, slope):
    layer = make()
    assert np.array_equal(layer.forward(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(
        layer.backward(np.array([2.0, -1.0, 0.5])), [2 * slope, -slope, slope / 2]
    )


# Values ------------------------------------------------------------------------------------------


def exact(name, x):
    """One number, by the definition in Python's own arithmetic; fit for moderate x."""
    return {
        "sigmoid": lambda: 1 / (1 + math.exp(-x)),
        "softplus": lambda: math.log(1 + math.exp(x)),
        "log_sigmoid": lambda: math.log(1 / (1 + math.exp(-x))),
        "relu": lambda: x if x > 0 else 0.0,
        "leaky_relu": lambda: x if x > 0 else 0.01 * x,
        "gelu": lambda: x * (1 + math.erf(x / math.sqrt(2))) / 2,
        "gelu_tanh": lambda: (
            x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
        ),
    }[name]()


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "log_sigmoid", "relu", "leaky_relu", "gelu", "gelu_tanh"]
)
def test_elementwise_values(name):
    x = np.linspace(-6, 6, 121).reshape(11, 11)
    expected = [exact(name, float(value)) for value in x.ravel()]
    got = getattr(nn, name)(x)
    assert got.shape == x.shape
    np.testing.assert_allclose(got.ravel(), expected, rtol=1e-12, atol=1e-14)


def test_values_far_out_keep_their_digits():
    """Against values of the asymptotic series, to 1e-12: where naive formulas give 0 or nan."""
    x = np.array([-40.0, -300.0])
    np.testing.assert_allclose(nn.sigmoid(x), np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(nn.softplus(x), np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(nn.log_sigmoid(x), x, rtol=1e-12)
    # Phi(-10) = 7.619853024160527e-24, Abramowitz & Stegun table 26.2 has its logarithm
    np.testing.assert_allclose(nn.gelu(np.array([-10.0])), -7.619853024160527e-23, rtol=1e-12)


def test_gelu_tanh_is_off_by_at_most_5e_4():
    x = np.linspace(-10, 10, 20001)
    assert abs(nn.gelu(x) - nn.gelu_tanh(x)).max() <= 5e-4


@given(shape=shapes, seed=seeds, axis=st.sampled_from([-1, 0]))
def test_softmax_family_against_loops(shape, seed, axis):
    x = np.random.default_rng(seed).standard_normal(shape)
    total = np.zeros_like(x.sum(axis=axis))
    for k in range(x.shape[axis]):
        total += np.exp(x.take(k, axis=axis))
    total = np.expand_dims(total, axis)
    np.testing.assert_allclose(nn.softmax(x, axis), np.exp(x) / total, rtol=1e-13)
    np.testing.assert_allclose(nn.log_softmax(x, axis), x - np.log(total), atol=1e-13)
    np.testing.assert_allclose(nn.logsumexp(x, axis, True), np.log(total), atol=1e-13)
    np.testing.assert_allclose(nn.logsumexp(x, axis), np.log(total).squeeze(axis), atol=1e-13)


@given(shape=shapes, seed=seeds, shift=st.floats(-1e4, 1e4))
def test_softmax_does_not_change_when_a_constant_is_added(shape, seed, shift):
    x = np.random.default_rng(seed).standard_normal(shape)
    np.testing.assert_allclose(nn.softmax(x + shift), nn.softmax(x), rtol=1e-10)
    np.testing.assert_allclose(nn.softmax(x).sum(axis=-1), 1, rtol=1e-14)


@given(seed=seeds)
def test_symmetries(seed):
    x = 5 * np.random.default_rng(seed).standard_normal((3, 7))
    np.testing.assert_allclose(nn.sigmoid(x) + nn.sigmoid(-x), 1, rtol=1e-14)
    np.testing.assert_allclose(nn.softplus(x) - nn.softplus(-x), x, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(nn.gelu(x) - nn.gelu(-x), x, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(nn.sigmoid(x), np.exp(nn.log_sigmoid(x)), rtol=1e-13)


# Extremes and dtype ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_dtype_stays_and_extremes_are_finite_without_warnings(function, dtype):
    x = np.array([[-1e4, -90, 0.0, 3], [1e4, 1, 90, -1]], dtype)
    before = x.copy()
    y = function(x)
    assert y.dtype == dtype
    assert np.isfinite(y).all()
    assert np.array_equal(x, before)


@pytest.mark.parametrize("make", SMOOTH + KINKED)
def test_gradients_at_extremes_are_finite_without_warnings(make):
    layer = make()
    x = np.array([[-1e4, -90, 0.0, 3], [1e4, 1, 90, -1]], np.float32)
    layer.forward(x)
    dx = layer.backward(np.ones_like(x))
    assert dx.dtype == np.float32
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax, nn.logsumexp])
def test_minus_infinity_is_a_class_that_cannot_be(function):
    x = np.array([1.0, -np.inf, 2.0])
    finite = function(x[[0, 2]])
    got = function(x)
    assert not np.isnan(got).any()
    np.testing.assert_allclose(got if function is nn.logsumexp else got[[0, 2]], finite)
    assert nn.softmax(x)[1] == 0


def test_limits():
    assert nn.sigmoid(np.array([-1e4, 1e4])).tolist() == [0, 1]
    assert nn.softplus(np.array([-1e4, 1e4])).tolist() == [0, 1e4]
    assert nn.gelu(np.array([-1e4, 1e4])).tolist() == [0, 1e4]
    np.testing.assert_allclose(nn.softmax(np.array([0.0, 1e4])), [0, 1])
    np.testing.assert_allclose(nn.log_softmax(np.array([0.0, 1e4])), [-1e4, 0])


@pytest.mark.parametrize("slope", [-0.1, 1.0, math.nan])
def test_negative_slope_is_checked(slope):
    with pytest.raises(ConfigError, match=r"negative_slope must lie in 0\.\.1 .*got"):
        nn.LeakyReLU(slope)


def test_gelu_layer_is_the_function():
    x = np.random.default_rng(0).standard_normal((3, 5))
    np.testing.assert_array_equal(nn.GELU().forward(x), nn.gelu(x))


# PReLU -------------------------------------------------------------------------------------------


def drawn_prelu(shape, n_channels, rng):
    """A float64 PReLU with random slopes, some below 0 or above 1, and x away from the kink."""
    layer = nn.PReLU(n_channels, dtype=np.float64)
    layer.a.value[...] = 0.25 + rng.standard_normal(n_channels)
    return layer, rng.choice([-1, 1], shape) * rng.uniform(1e-2, 3, shape)


@given(shape=shapes, seed=seeds, per_channel=st.booleans())
def test_prelu_equals_the_literal_loop(shape, seed, per_channel):
    rng = np.random.default_rng(seed)
    n_channels = shape[1] if per_channel and len(shape) > 1 else 1
    layer, x = drawn_prelu(shape, n_channels, rng)
    y = layer.forward(x)
    dy = rng.standard_normal(shape)
    dx = layer.backward(dy)
    da = np.zeros(n_channels)
    for i in np.ndindex(*shape):
        c = i[1] if n_channels > 1 else 0
        a = layer.a.value[c]
        assert y[i] == (x[i] if x[i] > 0 else a * x[i])
        assert dx[i] == (dy[i] if x[i] > 0 else a * dy[i])
        da[c] += 0 if x[i] > 0 else x[i] * dy[i]
    np.testing.assert_allclose(layer.a.grad, da, rtol=1e-12, atol=1e-13)


@given(shape=shapes, seed=seeds, per_channel=st.booleans())
def test_prelu_gradients_beside_the_kink(shape, seed, per_channel):
    rng = np.random.default_rng(seed)
    n_channels = shape[1] if per_channel and len(shape) > 1 else 1
    layer, x = drawn_prelu(shape, n_channels, rng)
    x.flat[0] = -1.5  # so that a has a gradient
    options = {"rng": rng, "method": fourth_order_difference, "may_vanish": ("x", "a")}
    assert check_gradients(layer, x, **options) <= 1e-7


def test_prelu_at_the_kink_and_at_first():
    layer = nn.PReLU()
    assert layer.a.value.tolist() == [0.25]
    assert np.array_equal(layer.forward(np.zeros(3)), np.zeros(3))
    assert layer.backward(np.array([2.0, -1.0, 0.5])).tolist() == [0.5, -0.25, 0.125]
    assert layer.a.grad.tolist() == [0]
    assert nn.PReLU(3, 0.5).a.value.tolist() == [0.5, 0.5, 0.5]


def test_prelu_with_a_fixed_slope_is_leaky_relu_and_relu():
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    np.testing.assert_array_equal(nn.PReLU(5, 0.2).forward(x), nn.LeakyReLU(0.2).forward(x))
    np.testing.assert_array_equal(nn.PReLU(1, 0.0).forward(x), nn.relu(x))


def test_prelu_errors():
    with pytest.raises(ConfigError, match="n_channels must be an integer of at least 1, got 0"):
        nn.PReLU(0)
    for initial in (math.nan, math.inf):
        with pytest.raises(ConfigError, match=f"initial must be a finite number, got {initial}"):
            nn.PReLU(initial=initial)
    for shape in ((2, 4), (3,), (3, 2, 3)):
        with pytest.raises(
            ShapeError, match=r"x of PReLU must have shape \(batch, 3, \.\.\.\), got"
        ):
            nn.PReLU(3).forward(np.ones(shape, np.float32))
    for shape in ((), (0, 3)):
        with pytest.raises(ShapeError, match="x of PReLU must have at least one entry"):
            nn.PReLU().forward(np.ones(shape, np.float32))
