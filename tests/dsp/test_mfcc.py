import doctest
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ScratchAudioError


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def test_examples_are_true():
    assert doctest.testmod(sys.modules["scratchaudio.dsp.mfcc"]).failed == 0


# DCT ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 13, 40])
def test_dct_by_definition(n):
    x = noise(n, n)
    for k in range(n):
        expected = 2 * sum(x[m] * math.cos(math.pi * k * (2 * m + 1) / (2 * n)) for m in range(n))
        assert abs(dsp.dct(x)[k] - expected) <= 1e-13 * n
        scale = math.sqrt(1 / (4 * n)) if k == 0 else math.sqrt(1 / (2 * n))
        assert abs(dsp.dct(x, norm="ortho")[k] - scale * expected) <= 1e-13 * n


@given(st.integers(1, 60))
def test_rows_are_orthogonal(n):
    C = dsp.dct_matrix(n)
    expected = np.diag([4.0 * n] + [2.0 * n] * (n - 1))
    assert np.abs(C @ C.T - expected).max() <= 1e-12 * n
    C = dsp.dct_matrix(n, norm="ortho")
    assert np.abs(C @ C.T - np.eye(n)).max() <= 1e-13


@given(
    st.integers(1, 30),
    st.sampled_from([None, "ortho"]),
    st.sampled_from([0, 1, -1]),
    st.integers(0),
)
def test_idct_is_the_inverse(n, norm, axis, seed):
    x = noise(seed, *((n, 3, 4) if axis == 0 else (3, n, 4) if axis == 1 else (3, 4, n)))
    back = dsp.idct(dsp.dct(x, axis=axis, norm=norm), axis=axis, norm=norm)
    assert np.abs(back - x).max() <= 1e-13


def test_dct_energy_and_dtype():
    x = noise(2, 3, 24)
    X = dsp.dct(x, norm="ortho")
    assert abs((X**2).sum() - (x**2).sum()) <= 1e-12
    assert dsp.dct(x.astype(np.float32)).dtype == np.float32


# MFCC -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["ortho", None])
@pytest.mark.parametrize("lifter", [0, 22, 5.5])
def test_mfcc_coefficient_by_coefficient(norm, lifter):
    y = noise(3, 3000)
    y[2000:] *= 1e-5  # 100 dB softer: below the floor
    settings = {"sr": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 18}
    S = dsp.melspectrogram(y=y, **settings)
    assert S.min() < 1e-8 * S.max()
    S_dB = 10 * np.log10(np.maximum(S, 1e-10))
    S_dB = np.maximum(S_dB, S_dB.max() - 80)
    c = dsp.mfcc(y=y, n_mfcc=7, norm=norm, lifter=lifter, **settings)
    assert c.shape == (7, S.shape[-1])
    for k in range(7):
        expected = 0
        for m in range(18):
            expected = expected + 2 * S_dB[m] * math.cos(math.pi * k * (2 * m + 1) / 36)
        if norm == "ortho":
            expected = expected / math.sqrt(72 if k == 0 else 36)
        if lifter:
            expected = expected * (1 + lifter / 2 * math.sin(math.pi * (k + 1) / lifter))
        assert np.abs(c[k] - expected).max() <= 1e-11 * np.abs(c).max(), k


def test_a_louder_sound_changes_only_c0():
    """What the module's table says of integer and float samples."""
    y = noise(4, 2000)
    settings = {"sr": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 20}
    change = dsp.mfcc(y=32768 * y, **settings) - dsp.mfcc(y=y, **settings)
    assert np.abs(change[0] - 20 * math.log10(32768) * math.sqrt(20)).max() <= 1e-9
    assert np.abs(change[1:]).max() <= 1e-9


def test_mfcc_takes_bands_in_decibels_and_keeps_the_precision():
    y = noise(5, 2, 3000).astype(np.float32)
    settings = {"sr": 16000, "n_fft": 512, "hop_length": 160, "n_mels": 30}
    bands = dsp.power_to_db(dsp.melspectrogram(y=y, **settings))
    c = dsp.mfcc(y=y, n_mfcc=13, **settings)
    np.testing.assert_array_equal(dsp.mfcc(S=bands, n_mfcc=13), c)
    assert c.dtype == np.float32
    assert c.shape == (2, 13, 19)
    exact = dsp.mfcc(y=y.astype(np.float64), n_mfcc=13, **settings)
    assert np.abs(c - exact).max() <= 1e-5 * np.abs(exact).max()


def test_silence_is_finite():
    c = dsp.mfcc(y=np.zeros(4000), sr=16000, n_mels=40)
    assert np.abs(c[0] + 100 * math.sqrt(40)).max() <= 1e-10
    assert np.abs(c[1:]).max() <= 1e-10


BAD_MFCC = [
    ({"n_mfcc": 41}, "n_mfcc must be at most the 40 mel bands, got 41"),
    ({"n_mfcc": 0}, "n_mfcc must be an integer of at least 1, got 0"),
    ({"dct_type": 3}, "dct_type must be 2, got 3"),
    ({"lifter": -1}, r"lifter must be at least 0 \(0 for none\), got -1"),
    ({"norm": "slaney"}, "norm must be None or \"ortho\", got 'slaney'"),
    ({"n_mels": 2000}, "n_mels=2000 is too many"),
    ({"y": None}, "mfcc needs either y"),
    ({"S": np.ones((40, 9))}, "mfcc needs either y"),
    ({"y": np.zeros(0)}, "y must hold at least one sample"),
    ({"y": np.full(9, np.nan)}, r"y must be finite, but y\[0\] is nan"),
    ({"y": None, "S": np.full((40, 3), np.nan)}, "S must be finite"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_MFCC)
def test_bad_mfcc(changes, message):
    with pytest.raises(ScratchAudioError, match=message):
        dsp.mfcc(**{"y": noise(6, 3000), "sr": 16000, "n_mels": 40, **changes})


# Deltas ---------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0), st.sampled_from(["interp", "nearest"]))
def test_delta_is_the_regression_of_the_docstring(N, seed, mode):
    data = noise(seed, 3, 17)
    d = dsp.delta(data, width=2 * N + 1, mode=mode)
    held = np.pad(data, [(0, 0), (N, N)], mode="edge")
    for t in range(17):
        middle = t
        if mode == "interp":  # the nearest place where the fit does not reach beyond the ends
            middle = min(max(t, N), 16 - N)
        expected = sum(
            n * (held[:, N + middle + n] - held[:, N + middle - n]) for n in range(1, N + 1)
        ) / (2 * sum(n * n for n in range(1, N + 1)))
        assert np.abs(d[:, t] - expected).max() <= 1e-13, t


@pytest.mark.parametrize("order", [1, 2, 3])
def test_delta_of_a_polynomial_is_its_derivative(order):
    """a t^p + lower terms: the p-th derivative is p! a, at the ends too."""
    t = np.arange(30.0)
    data = np.stack([0.7 * t**order + 3, -0.2 * t**order + 2 * t ** (order - 1)])
    d = dsp.delta(data, width=9, order=order)
    expected = math.factorial(order) * np.array([[0.7], [-0.2]])
    assert np.abs(d - expected).max() <= 1e-9


def test_delta_axis_precision_and_read_only():
    data = noise(7, 12, 5).astype(np.float32)
    data.setflags(write=False)
    d = dsp.delta(data, width=5, axis=0)
    assert d.dtype == np.float32
    np.testing.assert_array_equal(d, dsp.delta(data.T, width=5).T)


BAD_DELTA = [
    ({"width": 4}, "width must be odd, at least 3 and above order=1; got 4"),
    ({"width": 1}, "width must be odd, at least 3 and above order=1; got 1"),
    ({"width": 3, "order": 3}, "width must be odd, at least 3 and above order=3; got 3"),
    ({"width": 11}, "width must be at most the 10 frames of data, got 11"),
    ({"order": 0}, "order must be an integer of at least 1, got 0"),
    ({"mode": "mirror"}, 'mode must be "interp" or "nearest", got \'mirror\''),
    ({"data": np.ones((3, 10), int)}, "data must be floating-point, got int64"),
    ({"data": np.full((3, 10), np.nan)}, "data must be finite"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_DELTA)
def test_bad_delta(changes, message):
    with pytest.raises(ScratchAudioError, match=message):
        dsp.delta(**{"data": noise(8, 3, 10), **changes})


def test_error_type():
    with pytest.raises(ConfigError):
        dsp.delta(noise(9, 4))
