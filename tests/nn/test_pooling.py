"""Pooling: windows by loops, gradients away from ties, the tie rule, NaN, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from scratchaudio.nn.gradcheck import adjoint_error, check_gradients, fourth_order_difference

KINDS = {1: (MaxPool1d, AvgPool1d), 2: (MaxPool2d, AvgPool2d)}
n_axes = st.sampled_from([1, 2])


@st.composite
def cases(draw, n_axes, most_extra=6):
    """kernel_size and stride of each axis, and an x of distinct values, 1 apart in random order."""
    kernel, stride = ([draw(st.integers(1, 4)) for _ in range(n_axes)] for _ in range(2))
    size = [k + draw(st.integers(0, most_extra)) for k in kernel]
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *size)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.permutation(np.arange(float(np.prod(shape)))).reshape(shape)
    return tuple(kernel), tuple(stride), x, rng


def setting(values):
    """(k,) -> k; pairs stay pairs."""
    return values[0] if len(values) == 1 else values


def windows_by_loops(x, kernel, stride):
    """Yield (index of the output, its window as a list of (index of x, value))."""
    n_out = [
        len(range(0, n - k + 1, s)) for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)
    ]
    for index in np.ndindex(*x.shape[:2], *n_out):
        window = []
        for place in np.ndindex(*kernel):
            where = tuple(o * s + j for o, s, j in zip(index[2:], stride, place, strict=True))
            window.append(((*index[:2], *where), x[(*index[:2], *where)]))
        yield index, window


@given(n_axes=n_axes, data=st.data())
def test_equal_the_loops(n_axes, data):
    """Forward, and backward: to the first of the largest, or in equal parts to all."""
    kernel, stride, x, rng = data.draw(cases(n_axes))
    x = x // 2  # pairs of equal values: ties too
    for kind, is_max in zip(KINDS[n_axes], (True, False), strict=True):
        layer = kind(setting(kernel), setting(stride))
        y = layer.forward(x)
        dy = rng.standard_normal(y.shape)
        dx = layer.backward(dy)
        n_outputs, expected_dx = 0, np.zeros(x.shape)
        for index, window in windows_by_loops(x, kernel, stride):
            n_outputs += 1
            values = [value for _, value in window]
            if is_max:
                assert y[index] == max(values)
                expected_dx[window[values.index(max(values))][0]] += dy[index]
            else:
                assert abs(y[index] - sum(values) / len(values)) <= 1e-12 * max(1, max(values))
                for where, _ in window:
                    expected_dx[where] += dy[index] / len(values)
        assert n_outputs == y.size
        np.testing.assert_allclose(dx, expected_dx, rtol=0, atol=1e-13)


@settings(max_examples=25)
@given(n_axes=n_axes, data=st.data())
def test_gradients(n_axes, data):
    """The values are 1 apart: no step of 1e-3 gets near a tie."""
    kernel, stride, x, rng = data.draw(cases(n_axes, most_extra=3))
    for kind in KINDS[n_axes]:
        layer = kind(setting(kernel), setting(stride))
        error = check_gradients(layer, x, rng=rng, method=fourth_order_difference, tolerance=1e-7)
        assert error <= 1e-7


@given(n_axes=n_axes, data=st.data())
def test_mean_is_linear_and_backward_its_transpose(n_axes, data):
    kernel, stride, x, rng = data.draw(cases(n_axes))
    layer = KINDS[n_axes][1](setting(kernel), setting(stride))
    x = rng.standard_normal(x.shape)
    dy = rng.standard_normal(layer.forward(x).shape)
    assert adjoint_error(layer.forward, layer.backward, x, dy) <= 1e-14


@given(n_axes=n_axes, data=st.data())
def test_the_order_of_values_is_all_that_the_maximum_sees(n_axes, data):
    """max(g(x)) = g(max(x)) for increasing g; the mean of constants is the constant."""
    kernel, stride, x, _ = data.draw(cases(n_axes))
    largest, mean = (kind(setting(kernel), setting(stride)) for kind in KINDS[n_axes])
    np.testing.assert_array_equal(largest.forward(np.sqrt(x)), np.sqrt(largest.forward(x)))
    np.testing.assert_allclose(mean.forward(np.full(x.shape, 3.0)), 3, rtol=1e-15)


def test_ties_go_to_the_first():
    layer = MaxPool2d((2, 3))
    layer.forward(np.ones((1, 1, 4, 6), np.float32))
    dx = layer.backward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]], np.float32))
    expected = np.zeros((1, 1, 4, 6))
    expected[0, 0, ::2, ::3] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(dx, expected)
    layer = MaxPool1d(3)
    layer.forward(np.array([[[1.0, 5.0, 5.0]]]))
    np.testing.assert_array_equal(layer.backward(np.array([[[7.0]]])), [[[0, 7, 0]]])


@pytest.mark.parametrize("place", range(6))
def test_nan_passes_on(place):
    """Wherever in the window it lies; the windows beside it stay as they are."""
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    x[0, 0, place // 3, place % 3] = np.nan
    for kind in (MaxPool2d, AvgPool2d):
        nans = np.isnan(kind((2, 3)).forward(x))
        np.testing.assert_array_equal(nans, [[[[True, False], [False, False]]]])
    layer = MaxPool2d((2, 3))
    layer.forward(x)  # and it is where the gradient goes
    assert layer.backward(np.ones((1, 1, 2, 2)))[0, 0, place // 3, place % 3] == 1
    flat = x[:, :, :2, :3].reshape(1, 1, 6)
    for kind in (MaxPool1d, AvgPool1d):
        assert np.isnan(kind(6).forward(flat)).all()


def test_minus_infinity_is_a_value_like_others():
    x = np.full((1, 1, 4), -np.inf)
    layer = MaxPool1d(2)
    np.testing.assert_array_equal(layer.forward(x), [[[-np.inf, -np.inf]]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 2))), [[[1, 0, 1, 0]]])


def test_what_does_not_fill_a_window_is_dropped():
    x = np.arange(11.0).reshape(1, 1, 11)
    for kind in (MaxPool1d, AvgPool1d):
        layer = kind(4)
        assert layer.forward(x).shape == (1, 1, 2)
        assert not layer.backward(np.ones((1, 1, 2)))[..., 8:].any()


def test_windows_of_many_places():
    """More places than fit into 8 bits."""
    x = np.zeros((1, 1, 20, 30))
    x[0, 0, 17, 23] = 1
    layer = MaxPool2d((20, 30))
    assert layer.forward(x).item() == 1
    np.testing.assert_array_equal(layer.backward(np.full((1, 1, 1, 1), 5.0)), 5 * x)


@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d])
def test_impossible_settings_of_two_axes(kind):
    for wrong in (0, -1, 2.0, True, (2,), (1, 2, 3), (2, 0), "2"):
        message = "must be an integer of at least 1, or a pair of them"
        with pytest.raises(ConfigError, match=f"kernel_size {message}"):
            kind(wrong)
        with pytest.raises(ConfigError, match=f"stride {message}"):
            kind(2, wrong)


@pytest.mark.parametrize("kind", [MaxPool1d, AvgPool1d])
def test_impossible_settings_of_one_axis(kind):
    for wrong in (0, -1, 2.0, True, (2, 2)):
        with pytest.raises(ConfigError, match="kernel_size must be an integer of at least 1, got"):
            kind(wrong)
        with pytest.raises(ConfigError, match="stride must be an integer of at least 1, got"):
            kind(2, wrong)


def test_wrong_inputs():
    for kind in (MaxPool2d, AvgPool2d):
        layer = kind((2, 3))
        for shape in ((2, 4, 6), (1, 1, 1, 6), (1, 1, 4, 2), (0, 1, 4, 6), (1, 0, 4, 6), (6,)):
            with pytest.raises(ShapeError, match=rf"x of {kind.__name__} must have.*\(2, 3\).*got"):
                layer.forward(np.ones(shape))
    for kind in (MaxPool1d, AvgPool1d):
        for shape in ((4, 6), (1, 1, 2), (1, 1, 4, 6), (0, 1, 4), (1, 0, 4)):
            with pytest.raises(ShapeError, match=rf"x of {kind.__name__} must have.*\(3\).*got"):
                kind(3).forward(np.ones(shape))


@pytest.mark.parametrize("kind", [MaxPool1d, AvgPool1d])
def test_a_gradient_of_another_shape(kind):
    layer = kind(2)
    layer.forward(np.ones((2, 3, 7)))
    with pytest.raises(ShapeError, match=r"dy must have shape \(2, 3, 3\) like forward's y, got"):
        layer.backward(np.ones((2, 3, 4)))
