"""Mu-law coding: by the definition, round trip, edges, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.dsp import mulaw_decode, mulaw_edges, mulaw_encode
from scratchaudio.errors import ConfigError, ShapeError


def encode_by_definition(x, Q):
    """One sample: bend, spread over 0 ... mu, round half up."""
    mu = Q - 1
    c = math.copysign(math.log(1 + mu * abs(x)) / math.log(1 + mu), x)
    return math.floor((c + 1) / 2 * mu + 0.5)


def decode_by_definition(code, Q):
    mu = Q - 1
    c = 2 * code / mu - 1
    return math.copysign(((1 + mu) ** abs(c) - 1) / mu, c)


@pytest.mark.parametrize("Q", [2, 3, 16, 256])
def test_by_the_definition(Q):
    x = np.concatenate([np.linspace(-1, 1, 1001), [1e-9, -1e-9, 0.0, -0.0]])
    assert mulaw_encode(x, Q).tolist() == [encode_by_definition(v, Q) for v in x]
    expected = [decode_by_definition(k, Q) for k in range(Q)]
    np.testing.assert_allclose(mulaw_decode(np.arange(Q), Q), expected, rtol=1e-6, atol=1e-8)


def test_torchaudios_codes():
    """Silence is 128 and not 127 or 0; mu is 255 and not 256; ends are 0 and 255."""
    x = np.array([0.0, 8e-5, -8e-5, 5e-5, 1.0, -1.0, 0.5, -0.5, 0.01])
    assert mulaw_encode(x).tolist() == [128, 128, 127, 128, 255, 0, 239, 16, 157]
    assert mulaw_encode(x.astype(np.float32)).tolist() == mulaw_encode(x).tolist()
    np.testing.assert_allclose(mulaw_decode(np.array([128, 127])), [8.621e-5, -8.621e-5], rtol=1e-3)


@pytest.mark.parametrize("Q", [2, 5, 256, 1024])
def test_a_code_stays_what_it_is(Q):
    codes = np.arange(Q).reshape(1, -1)
    x = mulaw_decode(codes, Q)
    assert x.shape == (1, Q) and x.dtype == np.float32
    assert np.array_equal(mulaw_encode(x, Q), codes)
    assert np.all(np.diff(x) > 0) and x.min() == -1 and x.max() == 1


@given(st.floats(-1, 1))
def test_a_sample_comes_back_to_within_half_a_step(x):
    """Half a step of c, times the largest slope dx/dc in it."""
    back = float(mulaw_decode(mulaw_encode(np.array(x))))
    assert abs(back - x) <= (abs(x) + 1 / 255) * (256 ** (1 / 255) - 1) + 1e-7


def test_the_largest_error_is_that_of_rounding():
    x = np.linspace(-1, 1, 100_001)
    error = np.abs(mulaw_decode(mulaw_encode(x)) - x).max()
    assert error == pytest.approx(0.0216, abs=1e-4)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_louder_never_gets_a_lower_code(x, y):
    low, high = mulaw_encode(np.sort([x, y]))
    assert low <= high


@pytest.mark.parametrize("Q", [2, 3, 16, 256])
def test_edges_part_the_codes(Q):
    edges = mulaw_edges(Q)
    assert edges.shape == (Q - 1,) and edges.dtype == np.float64
    just = 1e-9
    assert mulaw_encode(edges - just, Q).tolist() == list(range(Q - 1))
    assert mulaw_encode(edges + just, Q).tolist() == list(range(1, Q))
    x = np.linspace(-0.999, 0.999, 2001) + 1e-7
    assert np.array_equal(mulaw_encode(x, Q), np.searchsorted(edges, x, side="right"))


def test_any_shape_and_nothing_changed():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 5)).astype(np.float32)
    before = x.copy()
    assert mulaw_encode(x).shape == (2, 3, 5) and np.array_equal(x, before)
    assert mulaw_encode(np.zeros(0)).shape == (0,) and mulaw_decode(np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("bad", [1.0001, -1.5, np.nan, np.inf])
def test_samples_outside(bad):
    x = np.zeros(5)
    x[3] = bad
    with pytest.raises(ShapeError, match=rf"x must lie in \[-1, 1\] to be coded, got {bad} and 0"):
        mulaw_encode(x)


def test_what_is_no_sound_and_no_code():
    with pytest.raises(ShapeError, match="x must hold floating-point samples, got dtype int64"):
        mulaw_encode(np.array([0, 1]))
    with pytest.raises(ShapeError, match="codes must hold integers, the codes of dsp.mulaw_encode"):
        mulaw_decode(np.array([0.5]))
    for bad in (-1, 256):
        with pytest.raises(ShapeError, match=rf"codes must lie in 0 ... 255, got {min(bad, 7)}"):
            mulaw_decode(np.array([7, bad]))
    assert mulaw_decode(np.array([300]), 512) < 1


@pytest.mark.parametrize("bad", [1, 0, -3, 2.0, "256", True])
def test_levels_that_cannot_be(bad):
    for function, x in ((mulaw_encode, np.zeros(3)), (mulaw_decode, np.zeros(3, int))):
        with pytest.raises(ConfigError, match="n_levels must be an integer of at least 2, got"):
            function(x, bad)
    with pytest.raises(ConfigError, match="n_levels must be"):
        mulaw_edges(bad)
