import doctest
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.dsp.windows import WINDOWS
from scratchaudio.errors import ConfigError, ShapeError

# What the table of the module promises: first zero in bins, highest side lobe in dB.
LOBES = {
    "boxcar": (1, -13),
    "bartlett": (2, -27),
    "hann": (2, -31),
    "hamming": (2, -43),
    "blackman": (3, -58),
    "blackmanharris": (4, -92),
}
COSINES = {
    "boxcar": [1],
    "hann": [0.5, 0.5],
    "hamming": [0.54, 0.46],
    "blackman": [0.42, 0.5, 0.08],
    "blackmanharris": [0.35875, 0.48829, 0.14128, 0.01168],
}


def test_examples_are_true():
    module = sys.modules["scratchaudio.dsp.windows"]
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", COSINES)
@pytest.mark.parametrize("sym", [False, True])
def test_cosine_windows_sample_by_sample(name, sym):
    n = 11
    w = getattr(dsp, name)(n, sym=sym)
    for i in range(n):
        turn = 2 * np.pi * i / (n - 1 if sym else n)
        expected = sum((-1) ** k * a * np.cos(k * turn) for k, a in enumerate(COSINES[name]))
        assert abs(w[i] - expected) <= 1e-15, (name, i)


def test_bartlett_and_kaiser_at_their_corners():
    np.testing.assert_allclose(dsp.bartlett(6), [0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3], atol=1e-15)
    np.testing.assert_allclose(dsp.bartlett(5, sym=True), [0, 0.5, 1, 0.5, 0], atol=1e-15)
    assert dsp.kaiser(8, beta=7.0)[4] == 1  # the middle
    assert abs(dsp.kaiser(8, beta=7.0)[0] - 1 / np.i0(7.0)) <= 1e-15  # the edge
    np.testing.assert_allclose(dsp.kaiser(9, beta=0.0), 1, rtol=1e-15)


@pytest.mark.parametrize("name", LOBES)
def test_lobes_of_the_table(name):
    zeros, side_lobe = LOBES[name]
    n, fine = 256, 16
    spectrum = np.abs(np.fft.rfft(dsp.get_window(name, n), n * fine))
    spectrum = np.maximum(spectrum / spectrum[0], 1e-12)
    assert spectrum[zeros * fine] <= 1e-4, "the first zero is where the table says"
    assert (spectrum[: zeros * fine - 2] > 1e-5).all(), "and none comes before"
    assert abs(20 * np.log10(spectrum[zeros * fine :].max()) - side_lobe) <= 0.75


@given(st.sampled_from(sorted(set(WINDOWS) - {"kaiser"})), st.integers(1, 70))
def test_periodic_is_symmetric_without_its_last_sample(name, n):
    window = WINDOWS[name]
    np.testing.assert_allclose(window(n), window(n + 1, sym=True)[:-1] if n > 1 else 1, atol=1e-15)
    np.testing.assert_allclose(window(n, sym=True), window(n, sym=True)[::-1], atol=1e-15)


def test_get_window_takes_names_functions_arrays_and_tuples():
    np.testing.assert_array_equal(dsp.get_window("hann", 9), dsp.hann(9))
    np.testing.assert_array_equal(dsp.get_window(dsp.hamming, 9), dsp.hamming(9))
    np.testing.assert_array_equal(dsp.get_window(("kaiser", 4.0), 9), dsp.kaiser(9, 4.0))
    np.testing.assert_array_equal(dsp.get_window([1, 2, 3], 3), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(dsp.get_window("hann", 9, fftbins=False), dsp.hann(9, sym=True))


@pytest.mark.parametrize(
    ("window", "n", "error", "message"),
    [
        ("hanning2", 8, ConfigError, "window must be one of boxcar, .*got 'hanning2'"),
        ("kaiser", 8, ConfigError, "kaiser.*beta"),
        (("hann", 3), 8, ConfigError, 'only "kaiser" takes a parameter'),
        (np.ones(7), 8, ShapeError, r"window has shape \(7,\), but the window length is 8"),
        (np.full(8, np.nan), 8, ShapeError, "window must be finite"),
        ("hann", 0, ConfigError, "Nx must be an integer of at least 1, got 0"),
    ],
)
def test_bad_windows(window, n, error, message):
    with pytest.raises(error, match=message):
        dsp.get_window(window, n)


def test_cola_is_periodic_windows_at_whole_fractions():
    for name, divisor in [("hann", 2), ("hann", 4), ("hamming", 2), ("bartlett", 2)]:
        assert dsp.is_cola(dsp.get_window(name, 48), 48 // divisor)
    assert dsp.is_cola(dsp.boxcar(48), 48)
    assert dsp.is_cola(dsp.blackman(48), 16)
    assert not dsp.is_cola(dsp.blackman(48), 24)
    assert not dsp.is_cola(dsp.hann(48), 32)
    assert not dsp.is_cola(dsp.hann(48, sym=True), 12)


@given(st.integers(2, 50), st.integers(1, 60), st.integers(0))
def test_nola_by_definition(n, hop, seed):
    """A long run of frames: is each sample of the middle in one?"""
    w = (np.random.default_rng(seed).random(n) > 0.4).astype(float)
    seen = np.zeros(hop * 200 + n)
    for t in range(200):
        seen[t * hop : t * hop + n] += w**2
    middle = seen[hop * 80 : hop * 81]
    assert dsp.is_nola(w, hop) == bool(middle.min() > 0)
