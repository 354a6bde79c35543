"""Laws of scratchaudio/dsp/room.py: made rooms, reverberation, the telephone band."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError


def reverberation_time(h, sr):
    """T30 of ISO 3382: Schroeder's backward integral, a line from -5 to -35 dB, times two."""
    energy = np.cumsum(np.square(h, dtype=float)[::-1])[::-1]
    decay = 10 * np.log10(energy[energy > 0] / energy[0])
    chosen = np.flatnonzero((decay <= -5) & (decay >= -35))
    slope, _ = np.polyfit(chosen / sr, decay[chosen], 1)
    return -60 / slope


@given(
    rt60=st.floats(0.1, 2.5),
    sr=st.sampled_from([8000, 16000, 44100]),
    drr_db=st.floats(-15, 30),
    seed=st.integers(0, 999),
)
def test_a_room_is_as_asked_for(rt60, sr, drr_db, seed):
    h = dsp.room_impulse_response(rt60, sr, seed, drr_db=drr_db)
    assert h.dtype == np.float32
    assert h.shape == (math.ceil(rt60 * sr) + 1,)
    assert h[0] == 1
    reverberant = np.square(h[1:], dtype=float).sum()
    assert abs(-10 * math.log10(reverberant) - drr_db) <= 1e-4
    tail = h.copy()
    tail[0] = 0
    assert abs(reverberation_time(tail, sr) / rt60 - 1) <= 0.15
    np.testing.assert_array_equal(h, dsp.room_impulse_response(rt60, sr, seed, drr_db=drr_db))


def test_treble_dies_first():
    for seed in range(5):
        h = dsp.room_impulse_response(0.8, 16000, seed)
        h[0] = 0
        low = reverberation_time(dsp.bandlimit(h, 16000, 250, 1000), 16000)
        high = reverberation_time(dsp.bandlimit(h, 16000, 4200, 8000), 16000)
        assert abs(low / 0.8 - 1) <= 0.15
        assert abs(high / (0.7 * 0.8) - 1) <= 0.1


def test_seeds_make_different_rooms():
    a, b = (dsp.room_impulse_response(0.3, 16000, seed)[1:] for seed in (0, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) <= 0.2


def test_early_echoes_stand_out_of_the_tail():
    standing = 0
    for seed in range(10):
        h = np.abs(dsp.room_impulse_response(0.5, 16000, seed)[1:1280])
        standing += (h > 8 * np.median(h)).sum()
    assert 20 <= standing <= 80  # of 8 a room, some weak


def test_reverberation_by_the_literal_sum():
    rng = np.random.default_rng(0)
    x, ir = rng.standard_normal((2, 13)), rng.standard_normal(5)
    expected = np.zeros((2, 13))
    for c in range(2):
        for n in range(13):
            expected[c, n] = sum(ir[k] * x[c, n - k] for k in range(5) if n >= k)
    np.testing.assert_allclose(dsp.reverberate(x, ir), expected, atol=1e-12)
    np.testing.assert_allclose(dsp.reverberate(x[0, :3], ir), expected[0, :3], atol=1e-12)


def test_the_direct_sound_keeps_its_time():
    x = np.zeros(4000, np.float32)
    x[1234] = 1
    y = dsp.reverberate(x, dsp.room_impulse_response(0.4, 16000, 0))
    assert y.dtype == np.float32
    assert y.shape == x.shape
    assert np.abs(y[:1234]).max() <= 1e-6
    assert abs(y[1234] - 1) <= 1e-6
    assert np.abs(y[1235:]).max() > 0.01


# The telephone --------------------------------------------------------------------------------


@pytest.mark.parametrize("sr", [8000, 16000, 44100])
def test_the_band_has_the_gain_of_its_formula(sr):
    N = 5000
    impulse = np.zeros(N)
    impulse[N // 2] = 1
    y = dsp.bandlimit(impulse, sr)
    f = np.fft.rfftfreq(N, 1 / sr)
    gain = np.abs(np.fft.rfft(y))
    with np.errstate(divide="ignore"):
        expected = 1 / np.sqrt((1 + (300 / f) ** 16) * (1 + (f / 3400) ** 16))
    assert np.abs(gain - expected).max() <= 1e-3
    at = [np.argmin(np.abs(f - edge)) for edge in (300, 3400)]
    assert np.abs(20 * np.log10(gain[at]) + 3).max() <= 0.2
    np.testing.assert_allclose(y[1:], y[:0:-1], atol=1e-12)  # even about its middle: no delay


def test_open_sides_change_nothing():
    x = np.random.default_rng(0).standard_normal((2, 333)).astype(np.float32)
    y = dsp.bandlimit(x, 16000, 0, 8000)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, x, atol=1e-5)
    low = dsp.bandlimit(x + 5, 16000, 0, 4000)
    assert abs(low[:, 100:200].mean() - 5) <= 0.1


@given(N=st.integers(1, 500), seed=st.integers(0, 99))
def test_any_length_is_kept(N, seed):
    x = np.random.default_rng(seed).standard_normal((2, N))
    x.flags.writeable = False
    assert dsp.bandlimit(x, 16000).shape == (2, N)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dsp.room_impulse_response(0, 16000), ConfigError, "rt60 must be between 0.05"),
        (lambda: dsp.room_impulse_response(math.nan, 16000), ConfigError, "rt60 .* got nan"),
        (lambda: dsp.room_impulse_response(0.3, 1.5), ConfigError, "sr must be an integer"),
        (lambda: dsp.room_impulse_response(0.3, 16000, drr_db=99), ConfigError, "drr_db must be"),
        (lambda: dsp.reverberate(np.ones(5), np.ones((2, 3))), ShapeError, r"shape \(2, 3\)"),
        (lambda: dsp.reverberate(np.zeros(0), np.ones(3)), ShapeError, "x must hold at least one"),
        (lambda: dsp.bandlimit(np.ones(5), 6000), ConfigError, "sr / 2 = 3000 Hz, .* high=3400.0"),
        (lambda: dsp.bandlimit(np.ones(5), 8000, 500, 400), ConfigError, "got low=500, high=400"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
