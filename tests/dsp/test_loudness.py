"""Loudness against the words and tables of ITU-R BS.1770."""

import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.dsp.loudness import k_weighting, loudness
from scratchaudio.errors import ConfigError, ShapeError

SR = 16_000


def by_the_words(x, sr):
    """The loudness of one channel, one filter and one block after another."""
    y = x
    for section in k_weighting(sr):
        y = scipy.signal.lfilter(section[:3], section[3:], y)
    block, step = round(0.4 * sr), round(0.1 * sr)
    z, start = [], 0
    while start + block <= len(y):
        z.append(np.mean(y[start : start + block] ** 2))
        start += step
    z = [one for one in z if -0.691 + 10 * math.log10(one) > -70]
    gate = -0.691 + 10 * math.log10(np.mean(z)) - 10
    z = [one for one in z if -0.691 + 10 * math.log10(one) > gate]
    return -0.691 + 10 * math.log10(np.mean(z))


def test_k_weighting_is_the_table_of_the_standard():
    """ITU-R BS.1770-4, Annex 1, tables 1 and 2: the coefficients at 48 kHz."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    shelf += [1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    assert np.abs(k_weighting(48_000) - [shelf, high_pass]).max() <= 1e-8


@pytest.mark.parametrize(("sr", "apart"), [(8_000, 0.22), (16_000, 0.1), (44_100, 0.01)])
def test_k_weighting_weighs_the_same_tones_alike_at_every_rate(sr, apart):
    """The numbers of the docstring, in dB."""
    tones = [30.0, 100.0, 500.0, 1000.0]
    _, here = scipy.signal.freqz_sos(k_weighting(sr), tones, fs=sr)
    _, there = scipy.signal.freqz_sos(k_weighting(48_000), tones, fs=48_000)
    assert np.abs(20 * np.log10(abs(here) / abs(there))).max() <= apart


@pytest.mark.parametrize("sr", [16_000, 44_100, 48_000])
def test_a_full_scale_sine_has_minus_three_lufs(sr):
    """BS.1770: "If a 0 dB FS, 997 Hz sine wave is applied to the left input: -3.01 LKFS"."""
    x = np.sin(2 * np.pi * 997 * np.arange(5 * sr) / sr)
    assert abs(loudness(x, sr) - -3.01) <= 0.05
    assert abs(loudness(np.stack([x, x]), sr) - loudness(x, sr) - 10 * math.log10(2)) <= 1e-9
    assert abs(loudness(x / 100, sr) - loudness(x, sr) + 40) <= 1e-9
    assert abs(loudness(x.astype(np.float32), sr) - loudness(x, sr)) <= 1e-4


def test_pauses_do_not_count():
    x = np.sin(2 * np.pi * 997 * np.arange(10 * SR) / SR)
    # The blocks that straddle the edge count: of some 103 blocks, 3 lie half in the pause.
    assert abs(loudness(np.concatenate([x, np.zeros(30 * SR)]), SR) - -3.01) <= 0.15
    assert abs(loudness(np.concatenate([x, 0.05 * x]), SR) - -3.01) <= 0.15  # 26 dB below
    both = 10 * math.log10((1 + 0.25) / 2)  # 6 dB below: counts
    assert abs(loudness(np.concatenate([x, 0.5 * x]), SR) - (-3.01 + both)) <= 0.1


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([4_000, 11_025, 16_000]),
    st.floats(0.4, 3),
    st.integers(0, 3),
)
def test_loudness_block_by_block(seed, sr, seconds, power):
    """Noise that swells, so that some blocks fall below each gate."""
    rng = np.random.default_rng(seed)
    n = math.ceil(seconds * sr)
    x = 10 ** rng.uniform(-2, 0) * rng.standard_normal(n) * np.linspace(1e-3, 1, n) ** power
    x.flags.writeable = False
    expected = by_the_words(x, sr)
    assert abs(loudness(x, sr) - expected) <= 1e-9
    spread = np.zeros((1, 2 * n))
    spread[:, ::2] = x
    assert abs(loudness(spread[:, ::2], sr) - expected) <= 1e-9, "every second sample of an array"


def test_the_absolute_gate_lies_at_minus_seventy():
    """Without it, the faint part of this sound would pass the relative gate of the rest."""
    x = np.sin(2 * np.pi * 997 * np.arange(5 * SR) / SR)  # -3.01 LUFS
    assert abs(loudness(x * 10 ** (-66.5 / 20), SR) - -69.5) <= 0.05
    assert loudness(x * 10 ** (-67.5 / 20), SR) == -math.inf


def test_silence_and_very_short_sounds():
    assert loudness(np.zeros(SR), SR) == -math.inf
    assert loudness(np.zeros(1), SR) == -math.inf
    x = 0.1 * np.random.default_rng(1).standard_normal(100)
    y = scipy.signal.sosfilt(k_weighting(SR), x)
    assert abs(loudness(x, SR) - (-0.691 + 10 * math.log10(np.mean(y**2)))) <= 1e-9


def test_errors():
    with pytest.raises(ShapeError, match="x must hold floating-point samples, got dtype int16"):
        loudness(np.ones(9, np.int16), SR)
    with pytest.raises(ShapeError, match=r"x must have shape \(N,\) or .* got \(1, 2, 9\)"):
        loudness(np.ones((1, 2, 9)), SR)
    with pytest.raises(ConfigError, match="sr must be at least 4000 Hz .* got 3999"):
        loudness(np.ones(9), 3999)
    with pytest.raises(ConfigError, match="sr must be an integer"):
        loudness(np.ones(9), 16e3)
