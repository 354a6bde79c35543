"""SNR and SI-SDR against sums sample by sample, laws of geometry, and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import metrics
from scratchaudio.errors import ConfigError, ScratchAudioError, ShapeError

LAW = 1e-9  # dB


def draw_pair(seed, N, error_db=-10.0, leading=()):
    """A reference and an estimate of other level, with an offset each and an error of its own."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(0.2, 1.0, size=(*leading, N))
    error = 10 ** (error_db / 20) * rng.normal(-0.1, 1.0, size=(*leading, N))
    return reference, 0.7 * reference + error


pairs = st.builds(
    draw_pair,
    seed=st.integers(0, 2**32),
    N=st.integers(3, 50),
    error_db=st.floats(-60, 40),
)
gains = st.floats(-40, 40).map(lambda db: 10 ** (db / 20))


def slow_snr(s, e):
    signal = error = 0.0
    for n in range(len(s)):
        signal += s[n] * s[n]
        error += (e[n] - s[n]) * (e[n] - s[n])
    return 10 * math.log10(signal / error)


def slow_si_sdr(s, e, zero_mean):
    """The angle between the arrows, from the sides of the triangle that they span."""
    if zero_mean:
        s, e = ([v - math.fsum(x) / len(x) for v in x] for x in (s, e))
    length_s, length_e = (math.sqrt(math.fsum(v * v for v in x)) for x in (s, e))
    unit_s, unit_e = [v / length_s for v in s], [v / length_e for v in e]
    apart = math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(unit_s, unit_e, strict=True)))
    together = math.sqrt(math.fsum((a + b) ** 2 for a, b in zip(unit_s, unit_e, strict=True)))
    phi = 2 * math.atan2(apart, together)
    return 20 * math.log10(abs(math.cos(phi) / math.sin(phi)))


@given(pairs)
def test_snr_is_that_of_sums_sample_by_sample(pair):
    value = metrics.snr(*pair)
    assert isinstance(value, float)
    assert abs(value - slow_snr(*pair)) <= LAW


@given(pairs, st.booleans())
def test_si_sdr_is_the_cotangent_of_the_angle(pair, zero_mean):
    value = metrics.si_sdr(*pair, zero_mean=zero_mean)
    expected = slow_si_sdr(*pair, zero_mean)
    assert isinstance(value, float)
    # Where the arrows are almost at right angles, the angle itself has few digits.
    assert abs(value - expected) <= LAW * max(1, 10 ** (-expected / 20))


def test_zero_mean_is_off_by_default_and_changes_the_value():
    pair = draw_pair(1, 40)
    with_mean, without = (metrics.si_sdr(*pair, zero_mean=z) for z in (False, True))
    assert metrics.si_sdr(*pair) == with_mean
    assert abs(with_mean - without) > 0.01


@given(pairs, gains, gains, st.sampled_from([-1, 1]), st.booleans())
def test_si_sdr_ignores_the_gain_and_sign_of_both(pair, gain, other_gain, sign, zero_mean):
    reference, estimate = pair
    before = metrics.si_sdr(reference, estimate, zero_mean=zero_mean)
    after = metrics.si_sdr(gain * reference, sign * other_gain * estimate, zero_mean=zero_mean)
    assert abs(after - before) <= LAW * max(1, 10 ** (-before / 20))


@given(pairs, st.floats(-5, 5), st.floats(-5, 5))
def test_with_zero_mean_offsets_do_not_count(pair, offset, other_offset):
    reference, estimate = pair
    before = metrics.si_sdr(reference, estimate, zero_mean=True)
    after = metrics.si_sdr(reference + offset, estimate + other_offset, zero_mean=True)
    assert abs(after - before) <= 1e-8 * max(1, 10 ** (abs(before) / 20))


@given(seed=st.integers(0, 2**32), db=st.floats(-80, 80), gain=gains)
def test_an_error_at_right_angles_has_the_ratio_it_was_given(seed, db, gain):
    rng = np.random.default_rng(seed)
    reference = np.repeat(rng.uniform(0.5, 1.5, size=9), 2)  # pairs of equal samples
    error = np.repeat(rng.uniform(0.5, 1.5, size=9), 2) * np.tile([1.0, -1.0], 9)
    error *= 10 ** (-db / 20) * np.linalg.norm(reference) / np.linalg.norm(error)
    assert abs(metrics.si_sdr(reference, gain * (reference + error)) - db) <= 1e-6
    assert abs(metrics.snr(reference, reference + error) - db) <= 1e-6


def test_closed_forms():
    n = np.arange(1600)
    tone, later = (np.sin(2 * np.pi * (n - delay) / 16) for delay in (0, 1))
    expected = 20 * math.log10(1 / math.tan(2 * math.pi / 16))  # 1 kHz, 16 kHz, one sample
    assert abs(metrics.si_sdr(tone, later) - expected) <= LAW
    assert abs(expected - 7.66) <= 0.005
    # An offset of 0.01 beside a tone of power 1/2.
    assert abs(metrics.si_sdr(tone, tone + 0.01) - 10 * math.log10(0.5 / 1e-4)) <= LAW
    assert metrics.si_sdr(tone, tone + 0.01, zero_mean=True) > 250
    assert abs(metrics.snr(tone, 1.1 * tone) - 20) <= LAW
    assert abs(metrics.snr(tone, 2 * tone)) <= LAW
    assert metrics.snr(tone, np.zeros(1600)) == 0


def test_white_noise_one_sample_late_keeps_one_nth_of_its_energy():
    """The mean of a^2, the share of energy on the line, is 1/N; here over 4000 draws."""
    N = 40
    noise = np.random.default_rng(0).standard_normal((4000, N + 1))
    share = 10 ** (metrics.si_sdr(noise[:, 1:], noise[:, :-1]) / 10)
    assert abs(np.mean(share / (1 + share)) * N - 1) <= 0.1
    assert abs(10 * math.log10(1 / 16000) + 42) <= 0.05


def test_perfect_and_silent():
    reference, silence = np.random.default_rng(0).standard_normal(31), np.zeros(31)
    for estimate in (reference, 2 * reference, -reference, reference.astype(np.float64)):
        assert metrics.si_sdr(reference, estimate) == math.inf
    assert metrics.si_sdr(reference, 0.3 * reference) >= 290
    assert metrics.snr(reference, reference) == math.inf
    assert metrics.si_sdr(reference, silence) == -math.inf
    assert metrics.si_sdr(np.array([1.0, 1.0]), np.array([1.0, -1.0])) == -math.inf
    for estimate in (reference, silence):
        assert math.isnan(metrics.si_sdr(silence, estimate))
        assert math.isnan(metrics.snr(silence, estimate))
        assert math.isnan(metrics.si_sdr_improvement(silence, estimate, reference))


def test_with_zero_mean_a_constant_is_silent():
    reference, constant = np.random.default_rng(0).standard_normal(31), np.full(31, 0.1)
    assert math.isnan(metrics.si_sdr(constant, reference, zero_mean=True))
    assert metrics.si_sdr(reference, constant, zero_mean=True) == -math.inf
    assert metrics.si_sdr(constant, constant) == math.inf


@pytest.mark.parametrize("db", [100, 140, 200])
def test_no_eps_caps_a_good_estimate(db):
    reference = np.array([3.0, 3.0, 5.0, 5.0])
    error = 10 ** (-db / 20) * np.array([3.0, -3.0, 5.0, -5.0])
    for scale in (1.0, 1e-6):
        estimate = scale * (reference + error)
        assert abs(metrics.si_sdr(scale * reference, estimate) - db) <= 1e-3


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-160, 1e160, 1e300])
def test_extreme_levels_neither_overflow_nor_vanish(scale):
    reference, estimate = np.array([1.0, 2.0, -3.0]), np.array([2.0, 2.0, -3.0])
    expected = metrics.si_sdr(reference, estimate), metrics.snr(reference, estimate)
    got = (
        metrics.si_sdr(scale * reference, scale * estimate),
        metrics.snr(scale * reference, scale * estimate),
    )
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert metrics.snr(scale * reference, -scale * reference) == pytest.approx(-20 * math.log10(2))
    assert metrics.snr(1e-200 * reference, estimate) <= -3000


def test_waveforms_of_a_batch_may_differ_extremely_in_level():
    reference, estimate = np.array([1.0, 2.0, -3.0]), np.array([2.0, 2.0, -3.0])
    scales = np.array([[1e-200], [1.0], [1e200]])
    for function in (metrics.si_sdr, metrics.snr):
        together = function(scales * reference, scales * estimate)
        np.testing.assert_allclose(together, function(reference, estimate), rtol=1e-12)


@given(pairs, st.floats(-20, 20), st.booleans())
def test_improvements_are_differences(pair, noise_db, zero_mean):
    reference, estimate = pair
    noise = np.random.default_rng(1).standard_normal(reference.size)
    mixture = reference + 10 ** (noise_db / 20) * noise
    rise = metrics.snr_improvement(reference, estimate, mixture)
    assert abs(rise - (slow_snr(reference, estimate) - slow_snr(reference, mixture))) <= LAW
    options = {"zero_mean": zero_mean}
    rise = metrics.si_sdr_improvement(reference, estimate, mixture, **options)
    after, before = (metrics.si_sdr(reference, e, **options) for e in (estimate, mixture))
    assert rise == after - before
    assert metrics.si_sdr_improvement(reference, mixture, mixture, **options) == 0


def test_improvements_at_infinity():
    reference, other = draw_pair(0, 20)
    silence = np.zeros(20)
    for improvement in (metrics.snr_improvement, metrics.si_sdr_improvement):
        assert improvement(reference, reference, other) == math.inf
        assert improvement(reference, other, reference) == -math.inf
        assert math.isnan(improvement(reference, reference, reference))
    assert math.isnan(metrics.si_sdr_improvement(reference, silence, silence))
    batch = (
        np.stack([reference, reference]),
        np.stack([reference, other]),
        np.stack([reference] * 2),
    )
    np.testing.assert_array_equal(metrics.snr_improvement(*batch), [math.nan, -math.inf])


@given(seed=st.integers(0, 2**32), leading=st.sampled_from([(1,), (4,), (3, 2)]))
def test_a_batch_is_its_waveforms_one_by_one(seed, leading):
    reference, estimate = draw_pair(seed, 11, leading=leading)
    reference[(0,) * len(leading)] = 0
    estimate *= 10.0 ** np.arange(leading[-1])[:, None]  # each has a level of its own
    mixture = estimate[..., ::-1]

    def centred(*arrays):
        return metrics.si_sdr(*arrays, zero_mean=True)

    for function, arrays in (
        (metrics.snr, (reference, estimate)),
        (metrics.si_sdr, (reference, estimate)),
        (centred, (reference, estimate)),
        (metrics.snr_improvement, (reference, estimate, mixture)),
        (metrics.si_sdr_improvement, (reference, estimate, mixture)),
    ):
        together = function(*arrays)
        assert together.shape == leading
        assert together.dtype == np.float64
        assert np.isfinite(together).sum() == together.size - 1
        for index in np.ndindex(leading):
            alone = function(*(x[index] for x in arrays))
            np.testing.assert_allclose(together[index], alone, rtol=0, atol=LAW)


def test_read_only_strided_and_float32_input():
    reference, estimate = draw_pair(0, 60)
    expected = metrics.si_sdr(reference[::2], estimate[::2]), metrics.snr(reference, estimate)
    before = reference.copy(), estimate.copy()
    reference.flags.writeable = estimate.flags.writeable = False
    got = metrics.si_sdr(reference[::2], estimate[::2]), metrics.snr(reference, estimate)
    assert got == expected
    metrics.si_sdr(reference, estimate, zero_mean=True)
    np.testing.assert_array_equal([reference, estimate], before)
    # float32 samples are summed in float64.
    single = reference.astype(np.float32), estimate.astype(np.float32)
    double = [x.astype(np.float64) for x in single]
    assert metrics.si_sdr(*single) == metrics.si_sdr(*double)
    assert metrics.snr(*single) == metrics.snr(*double)


@pytest.mark.parametrize("function", [metrics.snr, metrics.si_sdr])
@pytest.mark.parametrize(
    ("reference", "estimate", "says"),
    [
        (np.ones(4), np.ones(5), r"one shape, got \(4,\) and \(5,\)"),
        (np.ones((2, 1)), np.ones(2), "one shape"),
        (np.ones((2, 4)), np.ones(4), "one shape"),
        (np.ones(4, int), np.ones(4), "reference must hold floating-point"),
        (np.ones(4), np.array([1.0, np.nan, 1, 1]), "estimate must be finite"),
        (np.ones(0), np.ones(0), "reference must hold at least one sample"),
        (np.array(1.0), np.array(1.0), "reference must hold at least one sample"),
    ],
)
def test_wrong_arguments_are_named(function, reference, estimate, says):
    with pytest.raises(ShapeError, match=says) as caught:
        function(reference, estimate)
    assert isinstance(caught.value, ScratchAudioError)
    assert not isinstance(caught.value, ConfigError)
    improvement = getattr(metrics, f"{function.__name__}_improvement")
    with pytest.raises(ShapeError):
        improvement(reference, estimate, estimate)
    with pytest.raises(TypeError):
        metrics.si_sdr(np.ones(4), np.ones(4), True)
