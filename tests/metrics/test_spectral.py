"""The log-spectral distance against its definition with a DFT written out, and its laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.metrics import log_spectral_distance


def slow_distance(reference, estimate, n_fft, hop_length, floor_db=-80.0):
    """Frame by frame and bin by bin, each bin the sum of the definition of the DFT."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft) for n in range(n_fft)]

    def magnitudes(x):
        x = [0.0] * (n_fft // 2) + list(x) + [0.0] * (n_fft // 2)
        frames = []
        for start in range(0, len(x) - n_fft + 1, hop_length):
            bins = []
            for k in range(n_fft // 2 + 1):
                X = 0j
                for n in range(n_fft):
                    angle = -2 * math.pi * k * n / n_fft
                    X += window[n] * x[start + n] * complex(math.cos(angle), math.sin(angle))
                bins.append(abs(X))
            frames.append(bins)
        return frames

    S, E = magnitudes(reference), magnitudes(estimate)
    floor = 10 ** (floor_db / 20) * max(max(bins) for bins in S)
    distances = []
    for t in range(len(S)):
        total = 0.0
        for k in range(len(S[t])):
            s, e = max(S[t][k], floor), max(E[t][k], floor)
            total += (20 * math.log10(s) - 20 * math.log10(e)) ** 2
        distances.append(math.sqrt(total / len(S[t])))
    return sum(distances) / len(distances)


@pytest.mark.parametrize(("n_fft", "hop_length", "N"), [(8, 3, 29), (12, 4, 40), (7, 2, 20)])
@pytest.mark.parametrize("floor_db", [-80.0, -12.0])
def test_the_distance_is_that_of_the_definition(n_fft, hop_length, N, floor_db):
    rng = np.random.default_rng(n_fft)
    reference, estimate = rng.standard_normal(N), 0.1 * rng.standard_normal(N)
    reference[: N // 2] *= 1e-3  # frames of unequal level, so that the floor is reached
    options = {"n_fft": n_fft, "hop_length": hop_length, "floor_db": floor_db}
    value = log_spectral_distance(reference, estimate, **options)
    assert isinstance(value, float)
    assert abs(value - slow_distance(reference, estimate, **options)) <= 1e-9


def test_defaults_are_the_documented_ones():
    rng = np.random.default_rng(0)
    reference, estimate = rng.standard_normal(3000), np.zeros(3000)
    options = {"n_fft": 512, "hop_length": 128, "floor_db": -80}
    value = log_spectral_distance(reference, estimate)
    assert value == log_spectral_distance(reference, estimate, **options)
    for name, other in (("n_fft", 511), ("hop_length", 127), ("floor_db", -79)):
        changed = log_spectral_distance(reference, estimate, **(options | {name: other}))
        assert abs(changed - value) > 1e-6


# No spectrum of a single impulse in each frame has gaps: all bins lie far above the floor.
def draw_impulses(seed, N=400):
    x = np.zeros(N)
    x[7::32] = np.random.default_rng(seed).uniform(0.5, 1.5, size=x[7::32].size)
    return x


@given(seed=st.integers(0, 2**32), gain_db=st.floats(-20, 40), sign=st.sampled_from([-1, 1]))
def test_a_gain_of_g_db_is_g_db_away(seed, gain_db, sign):
    x = draw_impulses(seed)
    estimate = sign * 10 ** (gain_db / 20) * x
    value = log_spectral_distance(x, estimate, n_fft=32, hop_length=32)
    assert abs(value - abs(gain_db)) <= 1e-9


@given(seed=st.integers(0, 2**32), exponent=st.integers(-300, 150))
def test_laws_of_a_distance(seed, exponent):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 300))
    options = {"n_fft": 64, "hop_length": 17, "floor_db": -200}
    value = log_spectral_distance(a, b, **options)
    assert log_spectral_distance(a, a) == 0
    assert log_spectral_distance(a, -a) == 0
    assert value > 1
    # Far from the floor it is symmetric, and a common level does not count.
    assert abs(log_spectral_distance(b, a, **options) - value) <= 1e-9
    scale = 10.0**exponent
    assert abs(log_spectral_distance(scale * a, scale * b, **options) - value) <= 1e-6


def test_the_floor_hangs_on_the_reference():
    loud = draw_impulses(0)
    soft = 1e-6 * loud  # 120 dB down
    options = {"n_fft": 32, "hop_length": 32}
    down, up = (log_spectral_distance(*p, **options) for p in ((loud, soft), (soft, loud)))
    assert 60 <= down <= 80
    assert abs(up - 120) <= 1e-9


def test_silence():
    noise, silence = np.random.default_rng(0).standard_normal(2000), np.zeros(2000)
    half = np.concatenate([noise, silence])
    assert 60 <= log_spectral_distance(noise, silence) <= 80
    # Noise 40 dB down in the digital silence lies at most 80 - 40 dB above the floor.
    noisy = half + 0.01 * np.random.default_rng(1).standard_normal(4000)
    assert 10 <= log_spectral_distance(half, noisy) <= 40
    for estimate in (noise, silence):
        assert math.isnan(log_spectral_distance(silence, estimate))


def test_a_batch_is_its_waveforms_one_by_one():
    rng = np.random.default_rng(0)
    reference, estimate = rng.standard_normal((2, 3, 2, 700)) * 10.0 ** np.arange(3)[:, None, None]
    reference[1, 0] = 0
    together = log_spectral_distance(reference, estimate, n_fft=64, hop_length=16)
    assert together.shape == (3, 2)
    assert np.isnan(together).sum() == 1
    for index in np.ndindex(3, 2):
        alone = log_spectral_distance(reference[index], estimate[index], n_fft=64, hop_length=16)
        np.testing.assert_allclose(together[index], alone, rtol=0, atol=1e-9)


def test_read_only_strided_and_float32_input():
    reference, estimate = np.random.default_rng(0).standard_normal((2, 4000))
    before = reference.copy(), estimate.copy()
    reference.flags.writeable = estimate.flags.writeable = False
    strided = log_spectral_distance(reference[::2], estimate[::2])
    assert strided == log_spectral_distance(reference[::2].copy(), estimate[::2].copy())
    np.testing.assert_array_equal([reference, estimate], before)
    single = [x.astype(np.float32) for x in before]
    double = [x.astype(np.float64) for x in single]
    assert log_spectral_distance(*single) == log_spectral_distance(*double)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"reference": np.ones(600)}, ShapeError, r"one shape, got \(600,\) and \(700,\)"),
        ({"estimate": np.ones((1, 700))}, ShapeError, "one shape"),
        ({"reference": np.ones(700, int)}, ShapeError, "reference must hold floating-point"),
        ({"estimate": np.full(700, np.inf)}, ShapeError, "estimate must be finite"),
        ({"floor_db": 3}, ConfigError, "floor_db must be finite and at most 0 dB, got 3"),
        ({"floor_db": -math.inf}, ConfigError, "floor_db"),
        ({"floor_db": math.nan}, ConfigError, "floor_db"),
        ({"n_fft": 0}, ConfigError, "n_fft"),
        ({"hop_length": 1.5}, ConfigError, "hop_length"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, says):
    arguments = {"reference": np.ones(700), "estimate": np.ones(700)} | arguments
    with pytest.raises(error, match=says):
        log_spectral_distance(**arguments)
