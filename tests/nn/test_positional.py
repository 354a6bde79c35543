"""Positions: sinusoidal by definition; rotary as complex multiplication, and its laws."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import rotary_angles, rotate, sinusoidal_positions
from scratchaudio.nn.gradcheck import adjoint_error

seeds = st.integers(0, 2**32 - 1)
even = st.sampled_from([2, 4, 6, 10])


# Sinusoidal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("D", [1, 2, 3, 8, 9])
def test_sinusoidal_positions_by_definition(D):
    T = 11
    P = sinusoidal_positions(T, D, np.float64)
    assert P.shape == (T, D)
    for t in range(T):
        for j in range(D):
            angle = t / 10000 ** (2 * (j // 2) / D)
            expected = math.sin(angle) if j % 2 == 0 else math.cos(angle)
            assert P[t, j] == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_sinusoidal_positions_are_float32_and_exact_far_out():
    P = sinusoidal_positions(5000, 6)
    assert P.dtype == np.float32
    assert P[4999, 0] == pytest.approx(math.sin(4999), abs=1e-7)
    assert P[4999, 1] == pytest.approx(math.cos(4999), abs=1e-7)


def test_a_shift_in_time_turns_each_pair_by_a_fixed_angle():
    """Why the paper chose them: the position k steps on is a linear map of the position here."""
    D, k = 8, 5
    P = sinusoidal_positions(40, D, np.float64)
    pairs = P[:, 1::2] + 1j * P[:, 0::2]  # cos + i sin
    for i in range(D // 2):
        turned = pairs[:-k, i] * cmath.exp(1j * k / 10000 ** (2 * i / D))
        np.testing.assert_allclose(pairs[k:, i], turned, atol=1e-12)


# Rotary ------------------------------------------------------------------------------------------


@given(d=even, T=st.integers(1, 9), start=st.integers(0, 1000))
def test_rotary_angles_by_definition(d, T, start):
    angles = rotary_angles(T, d, start)
    assert angles.shape == (T, d // 2)
    for t in range(T):
        for i in range(d // 2):
            expected = (start + t) / 10000 ** (2 * i / d)
            assert angles[t, i] == pytest.approx(expected, rel=1e-13, abs=1e-300)


@given(d=even, seed=seeds)
def test_rotate_is_multiplication_of_complex_numbers(d, seed):
    rng = np.random.default_rng(seed)
    B, h, T, half = 2, 3, 5, d // 2
    x, angles = rng.standard_normal((B, h, T, d)), rng.standard_normal((T, half))
    y = rotate(x, angles)
    assert y.shape == x.shape
    for b, head, t, i in np.ndindex(B, h, T, half):
        point = complex(x[b, head, t, i], x[b, head, t, i + half])
        turned = point * cmath.exp(1j * angles[t, i])
        assert y[b, head, t, i] == pytest.approx(turned.real, abs=1e-13)
        assert y[b, head, t, i + half] == pytest.approx(turned.imag, abs=1e-13)


@given(d=even, seed=seeds, s=st.integers(0, 50), t=st.integers(0, 50), shift=st.integers(1, 500))
def test_product_depends_on_the_distance_alone(d, seed, s, t, shift):
    q, k = np.random.default_rng(seed).standard_normal((2, 1, d))

    def product(t, s):
        return (rotate(q, rotary_angles(1, d, t)) * rotate(k, rotary_angles(1, d, s))).sum()

    assert product(t + shift, s + shift) == pytest.approx(product(t, s), abs=1e-10)
    # and it is q . R_{s - t} k
    turned = rotate(k, (s - t) * rotary_angles(1, d, 1))
    assert product(t, s) == pytest.approx((q * turned).sum(), abs=1e-10)


def test_product_does_depend_on_the_distance():
    q = np.ones((1, 4))
    here, there = (q * rotate(q, rotary_angles(1, 4, t)) for t in (0, 3))
    assert abs(here.sum() - there.sum()) >= 0.1


@given(d=even, seed=seeds)
def test_norm_is_kept_and_the_inverse_is_the_adjoint(d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 3, 5, d))
    angles = rotary_angles(5, d, 7)
    turned = rotate(x, angles)
    norms = [np.linalg.norm(array, axis=-1) for array in (turned, x)]
    np.testing.assert_allclose(*norms, rtol=1e-13)
    np.testing.assert_allclose(rotate(turned, -angles), x, atol=1e-13)
    error = adjoint_error(lambda x: rotate(x, angles), lambda y: rotate(y, -angles), x, y)
    assert error <= 1e-14


def test_time_0_is_not_turned_and_float32_and_complex_stay():
    x = np.random.default_rng(0).standard_normal((2, 1, 6)).astype(np.float32)
    y = rotate(x, rotary_angles(1, 6))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x)
    assert rotate(x + 0j, rotary_angles(1, 6, 3)).dtype == np.complex64


# Errors ------------------------------------------------------------------------------------------


def test_errors():
    with pytest.raises(ConfigError, match="n_steps must be an integer of at least 1, got 0"):
        sinusoidal_positions(0, 4)
    with pytest.raises(ConfigError, match="d_model must be an integer of at least 1, got 2.5"):
        sinusoidal_positions(3, 2.5)
    with pytest.raises(ConfigError, match="n_steps must be"):
        rotary_angles(0, 4)
    with pytest.raises(ConfigError, match="n_features must be"):
        rotary_angles(3, 0)
    with pytest.raises(ConfigError, match="turn pairs of features, but n_features=5"):
        rotary_angles(3, 5)
    angles = np.zeros((4, 3))
    for shape in [(2, 4, 7), (2, 5, 6), (2, 4, 8), (6,)]:
        with pytest.raises(ShapeError, match=r"angles \(T, D / 2\) with an even D, got x \("):
            rotate(np.zeros(shape), angles)
