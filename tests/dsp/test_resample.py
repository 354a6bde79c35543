"""Laws of scratchaudio/dsp/resample.py: the same sound at another rate."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio.dsp.resample import _ZEROS, _by_table, _kernel, resample
from scratchaudio.errors import ConfigError, ShapeError

RATES = [
    (44100, 16000),
    (16000, 44100),
    (96000, 16000),
    (8000, 48000),
    (22050, 8000),
    (11025, 16000),
    (16000, 15999),
    (44100, 44101),  # no common divisor: read from the table
    (44101, 12347),
]


def kernel_by_its_definition(t, up, down):
    s = min(1, up / down)
    c = 0.95 * s
    if abs(s * t) > 64:
        return 0.0
    sinc = 1.0 if t == 0 else math.sin(math.pi * c * t) / (math.pi * c * t)
    bessel = [
        sum((0.5 * b) ** (2 * k) / math.factorial(k) ** 2 for k in range(60))
        for b in (10.06 * math.sqrt(max(0, 1 - (s * t / 64) ** 2)), 10.06)
    ]
    return c * sinc * bessel[0] / bessel[1]


@pytest.mark.parametrize(("up", "down"), [(3, 2), (2, 7), (1, 3), (5, 1)])
def test_by_the_literal_sum(up, down):
    x = np.random.default_rng(0).standard_normal(11)
    expected = []
    for m in range(math.ceil(11 * up / down)):
        t = m * down / up
        weights = [kernel_by_its_definition(t - k, up, down) for k in range(11)]
        expected.append(sum(w * value for w, value in zip(weights, x, strict=True)))
    np.testing.assert_allclose(resample(x, down, up), expected, atol=1e-12)
    np.testing.assert_allclose(_by_table(x, up, down), expected, atol=1e-6)


@pytest.mark.parametrize(("orig_sr", "target_sr"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_tone_stays_that_tone(orig_sr, target_sr, share):
    f = share * min(orig_sr, target_sr) / 2
    t = np.arange(4000) / orig_sr
    y = resample(np.sin(2 * np.pi * f * t + 1), orig_sr, target_sr)
    expected = np.sin(2 * np.pi * f * np.arange(len(y)) / target_sr + 1)
    edge = math.ceil(_ZEROS * target_sr / min(orig_sr, target_sr)) + 1  # silence lies beyond
    assert np.abs(y - expected)[edge:-edge].max() <= 1e-3  # 0.01 dB is 1.15e-3


@pytest.mark.parametrize(("orig_sr", "target_sr"), [r for r in RATES if r[0] > 1.05 * r[1]])
@pytest.mark.parametrize("above", [1.01, 1.3])
def test_what_the_new_rate_cannot_hold_is_100_db_down(orig_sr, target_sr, above):
    f = above * target_sr / 2
    n = np.arange(8000)
    x = np.sin(2 * np.pi * f / orig_sr * n) * np.hanning(8000)  # faded: no clicks at the ends
    y = resample(x, orig_sr, target_sr)
    assert np.sqrt(np.mean(y**2) / np.mean(x**2)) <= 1e-5


@settings(max_examples=30)
@given(
    N=st.integers(1, 300),
    rates=st.sampled_from(RATES),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_length_dtype_and_linearity(N, rates, dtype, seed):
    x = np.random.default_rng(seed).standard_normal((2, N)).astype(dtype)
    x.flags.writeable = False
    y = resample(x, *rates)
    assert y.shape == (2, -(-N * rates[1] // rates[0]))
    assert y.dtype == dtype
    mixed = resample(2 * x[0] - 3 * x[1], *rates)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert np.abs(mixed - (2 * y[0] - 3 * y[1])).max() <= tolerance * 10


@settings(max_examples=20)
@given(N=st.integers(1, 40), M=st.sampled_from([(3, 2), (2, 5), (7, 4)]), seed=st.integers(0, 99))
def test_it_is_the_matrix_of_its_answers_to_impulses(N, M, seed):
    rng = np.random.default_rng(seed)
    R = np.stack([resample(row, *M) for row in np.eye(N)], axis=1)
    x = rng.standard_normal(N)
    np.testing.assert_allclose(resample(x, *M), R @ x, atol=1e-13)


def test_both_ways_agree():
    x = np.random.default_rng(1).standard_normal((2, 3, 700))
    expected = resample(x, 441, 160)
    assert np.abs(_by_table(x, 160, 441) - expected).max() <= 1e-5
    assert np.abs(_by_table(x, 441, 160) - resample(x, 160, 441)).max() <= 1e-5


def test_up_and_down_again_is_the_same():
    rng = np.random.default_rng(2)
    x = resample(rng.standard_normal(2000), 10_000, 16_000)  # nothing above 5 kHz
    back = resample(resample(x, 16_000, 44_100), 44_100, 16_000)
    assert np.abs(back - x)[200:-200].max() <= 1e-4 * np.abs(x).max()


def test_the_axis_of_time():
    x = np.random.default_rng(3).standard_normal((50, 3))
    for rates in [(3, 2), (44100, 44101)]:
        expected = resample(np.ascontiguousarray(x.T), *rates).T
        np.testing.assert_allclose(resample(x, *rates, axis=0), expected, atol=1e-13)


def test_the_same_rate_copies():
    x = np.ones(5)
    y = resample(x, 8000, 8000)
    y[0] = 2
    assert x[0] == 1


def test_rates_without_common_divisor_need_little_memory():
    x = np.zeros(20_000, np.float32)
    tracemalloc.start()
    y = resample(x, 999_983, 999_979)  # two primes: the polyphase filter would take 1 GB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert y.shape == (20_000,)
    assert peak <= 80e6


def test_the_kernel_starts_at_its_bandwidth():
    assert math.isclose(_kernel(np.zeros(1), 1, 1)[0], 0.95)
    assert math.isclose(_kernel(np.zeros(1), 1, 4)[0], 0.95 / 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(5), 44100.0, 16000), ConfigError, "orig_sr must be an integer .* got 44100.0"),
        ((np.ones(5), 44100, 0), ConfigError, "target_sr must be an integer of at least 1, got 0"),
        ((np.zeros(0), 2, 3), ShapeError, "y must hold at least one sample"),
        ((np.array([1, np.nan]), 2, 3), ShapeError, r"y\[1\] is nan"),
        ((np.ones(5, np.int16), 2, 3), ShapeError, "divide integer PCM by its full scale"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        resample(*arguments)
