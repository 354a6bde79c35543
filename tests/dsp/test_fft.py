import doctest
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.dsp import fft
from scratchaudio.errors import ConfigError, ShapeError

lengths = st.one_of(st.integers(1, 130), st.sampled_from([256, 257, 500, 1024]))


def dft_by_definition(x):
    """X[k] = sum_n x[n] exp(-2 pi i n k / N), term by term, with exact angles."""
    N = len(x)
    return np.array(
        [sum(x[n] * np.exp(-2j * math.pi * (n * k % N) / N) for n in range(N)) for k in range(N)]
    )


def signal(seed, *shape):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_examples_are_true():
    assert doctest.testmod(sys.modules["scratchaudio.dsp.fft"]).failed == 0


@pytest.mark.parametrize("N", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 32, 60, 64, 97])
def test_the_definition(N):
    x = signal(N, N)
    expected = dft_by_definition(x)
    scale = math.sqrt(N) * np.abs(x).max()
    assert np.abs(fft.fft(x) - expected).max() <= 1e-14 * scale
    assert np.abs(fft.ifft(expected) - x).max() <= 1e-14 * scale
    assert np.abs(fft.rfft(x.real) - dft_by_definition(x.real)[: N // 2 + 1]).max() <= 1e-14 * scale


@given(lengths, st.integers(0))
def test_there_and_back(N, seed):
    x = signal(seed, 3, N)
    assert np.abs(fft.ifft(fft.fft(x)) - x).max() <= 1e-13
    assert np.abs(fft.irfft(fft.rfft(x.real), n=N) - x.real).max() <= 1e-13


@given(lengths, st.integers(0))
def test_parseval_linearity_and_shift(N, seed):
    x, y = signal(seed, 2, N)
    X, Y = fft.fft(np.stack([x, y]))
    energy = (np.abs(x) ** 2).sum()
    assert abs((np.abs(X) ** 2).sum() / N - energy) <= 1e-13 * energy
    a, b = 0.7, 2.1 - 1.3j
    assert np.abs(fft.fft(a * x + b * y) - (a * X + b * Y)).max() <= 1e-12 * math.sqrt(N)
    turned = X * np.exp(-2j * math.pi * np.arange(N) / N)  # one sample later
    assert np.abs(fft.fft(np.roll(x, 1)) - turned).max() <= 1e-12 * math.sqrt(N)


@given(st.integers(1, 40), st.integers(1, 50), st.sampled_from([0, 1, -1, -2]), st.integers(0))
def test_numpy_agrees_on_length_and_axis(N, n, axis, seed):
    x = signal(seed, N, 3) if axis in (0, -2) else signal(seed, 3, N)
    for name in ("fft", "ifft", "irfft"):
        ours = getattr(fft, name)(x, n=n, axis=axis)
        theirs = getattr(np.fft, name)(x, n=n, axis=axis)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-12, name
    assert np.abs(fft.rfft(x.real, n, axis) - np.fft.rfft(x.real, n, axis)).max() <= 1e-12


@pytest.mark.parametrize("N", [1, 2, 3, 17, 100, 256, 999, 1024, 2047, 2048, 4095, 4096])
def test_float32_stays_float32_and_is_as_exact_as_promised(N):
    x = np.random.default_rng(N).standard_normal((4, N)).astype(np.float32)
    exact = np.fft.fft(x.astype(np.float64))
    X = fft.fft(x)
    assert X.dtype == fft.rfft(x).dtype == np.complex64
    assert fft.irfft(X, n=N).dtype == np.float32
    rms = np.sqrt((np.abs(exact) ** 2).mean())
    assert np.abs(X - exact).max() <= 1e-6 * rms


def test_the_speed_up_of_the_docstring():
    assert round(2048**2 / (2048 * math.log2(2048))) == 186


def test_inputs_are_left_alone():
    x = np.arange(24.0)[::2]
    x.setflags(write=False)
    np.testing.assert_allclose(fft.irfft(fft.rfft(x)), x, atol=1e-14)
    np.testing.assert_allclose(fft.fft([1, 2, 3]), np.fft.fft([1, 2, 3]), atol=1e-15)


def test_errors():
    with pytest.raises(ShapeError, match=r"x must hold at least one value, got shape \(0,\)"):
        fft.fft(np.zeros(0))
    with pytest.raises(ShapeError, match="x must be real for rfft"):
        fft.rfft(np.zeros(4, complex))
    with pytest.raises(ShapeError, match="x must hold numbers, got dtype <U1"):
        fft.fft(["a"])
    with pytest.raises(ConfigError, match="n must be at least 1, got 0"):
        fft.fft(np.zeros(4), n=0)
    with pytest.raises(ConfigError, match="n must be at least 1, got 0: X has 1 bins"):
        fft.irfft(np.ones(1))
