"""SNR, SI-SDR, SI-SIR, SI-SAR against slow sums, laws of geometry, and closed forms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
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


# Several sources ------------------------------------------------------------------------------


def draw_sources(seed, S, N, error_db=-10.0):
    """Estimates that hold something of every reference and some noise, at levels of their own."""
    rng = np.random.default_rng(seed)
    references = rng.normal(0.1, 1.0, (S, N)) * rng.uniform(0.5, 2, (S, 1))
    error = 0.5 * rng.uniform(-1, 1, (S, S)) @ references + rng.normal(0.1, 1.0, (S, N))
    return references, rng.uniform(0.3, 3, (S, 1)) * (references + 10 ** (error_db / 20) * error)


many = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "S": st.integers(1, 5),
        "N": st.integers(12, 60),
        "error_db": st.floats(-60, 20),
    }
)


def slow_parts(references, e, j):
    """a s, interference and artefacts of one estimate, by least squares over all references."""
    s = references[j]
    target = math.fsum(e * s) / math.fsum(s * s) * s
    residual = e - target
    gains = np.linalg.lstsq(references.T, residual, rcond=None)[0]
    interference = gains @ references
    return target, interference, residual - interference


def slow_db(wanted, unwanted):
    return 10 * math.log10(math.fsum(wanted**2) / math.fsum(unwanted**2))


@given(many, st.booleans())
def test_si_bss_is_least_squares_over_all_references(arguments, zero_mean):
    references, estimates = draw_sources(**arguments)
    si_sdr, si_sir, si_sar = metrics.si_bss(references, estimates, zero_mean=zero_mean)
    np.testing.assert_array_equal(
        si_sdr, metrics.si_sdr(references, estimates, zero_mean=zero_mean)
    )
    if zero_mean:
        references, estimates = (x - x.mean(axis=1, keepdims=True) for x in (references, estimates))
    for j, e in enumerate(estimates):
        target, interference, artefacts = slow_parts(references, e, j)
        if len(references) == 1:
            assert si_sir[j] == math.inf
        else:
            assert abs(si_sir[j] - slow_db(target, interference)) <= 1e-6
        assert abs(si_sar[j] - slow_db(target, artefacts)) <= 1e-6


@given(many)
def test_interference_and_artefacts_add_up(arguments):
    """1/SDR = 1/SIR + 1/SAR, which holds if and only if they are at right angles."""
    ratios = metrics.si_bss(*draw_sources(**arguments))
    sdr, sir, sar = (10 ** (-x / 10) for x in ratios)
    np.testing.assert_allclose(sdr, sir + sar, rtol=1e-9)


@given(many)
def test_other_directions_are_at_right_angles(arguments):
    from scratchaudio.metrics.separation import _other_directions

    references, _ = draw_sources(**arguments)
    for j, s in enumerate(references):
        basis = np.array([s / np.linalg.norm(s), *_other_directions(references, j)])
        np.testing.assert_allclose(basis @ basis.T, np.eye(len(references)), atol=1e-12)
        left = references - references @ basis.T @ basis
        assert np.abs(left).max() <= 1e-12 * np.abs(references).max()


@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9])
def test_almost_equal_references_keep_what_sets_them_apart(apart):
    """Gram-Schmidt once would leave 1e-16 / apart of the first direction in the second."""
    from scratchaudio.metrics.separation import _other_directions

    rng = np.random.default_rng(0)
    shared, *own = rng.standard_normal((4, 60))
    references = shared + apart * np.array(own)
    basis = np.array(_other_directions(references, 0))
    assert basis.shape == (2, 60)
    cosines = basis @ np.stack([*basis, references[0] / np.linalg.norm(references[0])]).T
    np.testing.assert_allclose(cosines, np.eye(2, 3), rtol=0, atol=1e-14)


@given(many, st.lists(gains, min_size=5, max_size=5), st.sampled_from([-1, 1]))
def test_si_bss_ignores_gains_and_signs(arguments, gain, sign):
    references, estimates = draw_sources(**arguments)
    gain = np.array(gain[: len(references)])[:, None]
    before = np.array(metrics.si_bss(references, estimates))
    after = np.array(metrics.si_bss(gain * references, sign * gain[::-1] * estimates))
    finite = np.isfinite(before)
    np.testing.assert_array_equal(after[~finite], before[~finite])
    np.testing.assert_allclose(after[finite], before[finite], rtol=0, atol=1e-6)


@given(leak_db=st.floats(-80, 60), noise_db=st.floats(-80, 60), gain=gains)
def test_parts_at_right_angles_have_the_ratios_they_were_given(leak_db, noise_db, gain):
    a, b = np.tile([1.0, 1.0, 1.0, 1.0], 4), np.tile([1.0, -1.0, 1.0, -1.0], 4)
    neither = np.tile([1.0, 1.0, -1.0, -1.0], 4)
    leak, noise = (10 ** (db / 20) for db in (leak_db, noise_db))
    estimates = np.stack([gain * (a + leak * b + noise * neither), b])
    # References need not be at right angles: the span is the same.
    for other in (b, b + 0.7 * a):
        si_sdr, si_sir, si_sar = metrics.si_bss(np.stack([a, other]), estimates)
        assert abs(si_sir[0] + leak_db) <= 1e-6
        assert abs(si_sar[0] + noise_db) <= 1e-6
        assert abs(si_sdr[0] + 10 * math.log10(leak**2 + noise**2)) <= 1e-6


def test_si_bss_of_perfect_and_silent():
    references, estimates = draw_sources(0, 3, 40)
    si_sdr, si_sir, si_sar = metrics.si_bss(references, references)
    np.testing.assert_array_equal([si_sdr, si_sir, si_sar], math.inf)
    leaks = references[[1, 2, 0]] + references
    assert metrics.si_bss(references, leaks)[2].min() >= 250
    before = np.array(metrics.si_bss(references, estimates))
    estimates[1] = 0
    ratios = np.array(metrics.si_bss(references, estimates))
    assert (ratios[:, 1] == -math.inf).all()
    np.testing.assert_array_equal(ratios[:, [0, 2]], before[:, [0, 2]])
    references[2] = 0
    ratios = np.array(metrics.si_bss(references, estimates))
    assert np.isnan(ratios[:, 2]).all()
    expected = np.array(metrics.si_bss(references[:2], estimates[:2]))
    np.testing.assert_allclose(ratios[:, :2], expected, rtol=1e-12)
    alone = np.array(metrics.si_bss(references[[0, 2]], estimates[[0, 2]]))
    assert alone[1, 0] == math.inf


def test_si_bss_of_references_that_depend_on_each_other():
    references, estimates = draw_sources(0, 2, 50)
    expected = np.array(metrics.si_bss(references, estimates))
    for copy in (references[1], -3 * references[1], references[0] - references[1]):
        more = np.stack([*references, copy])
        ratios = np.array(metrics.si_bss(more, np.stack([*estimates, estimates[1]])))
        np.testing.assert_allclose(ratios[:, :2], expected, rtol=0, atol=LAW)


@settings(max_examples=30)
@given(many, st.sampled_from([metrics.si_sdr, metrics.snr]))
def test_best_permutation_is_the_best_of_all(arguments, metric):
    references, estimates = draw_sources(**arguments)
    estimates = np.random.default_rng(arguments["seed"]).permutation(estimates)
    permutation, values = metrics.best_permutation(references, estimates, metric)
    assert sorted(permutation) == list(range(len(references)))
    np.testing.assert_array_equal(values, metric(references, estimates[permutation]))
    best = max(
        math.fsum(metric(references, estimates[list(order)]))
        for order in itertools.permutations(range(len(references)))
    )
    assert abs(math.fsum(values) - best) <= 1e-9


def test_best_permutation_by_default_and_with_another_metric():
    references, _ = draw_sources(0, 3, 30)
    order = np.array([2, 0, 1])
    permutation, values = metrics.best_permutation(references, references[order])
    np.testing.assert_array_equal(order[permutation], [0, 1, 2])
    assert (values == math.inf).all()
    louder = np.stack([references[0], 10 * references[0]])  # equal by SI-SDR
    permutation, values = metrics.best_permutation(
        np.stack([references[1], 9.5 * references[0]]), louder[::-1], metrics.snr
    )
    np.testing.assert_array_equal(permutation, [1, 0])


def test_best_permutation_of_silent_and_perfect():
    references, estimates = draw_sources(0, 3, 40, error_db=-20)
    silent = np.zeros(40)
    # The silent reference gets what is of no use to the others.
    permutation, values = metrics.best_permutation(
        np.stack([references[0], silent, references[2]]),
        np.stack([estimates[2], estimates[0], silent]),
    )
    np.testing.assert_array_equal(permutation, [1, 2, 0])
    assert np.isnan(values).tolist() == [False, True, False]
    # A perfect estimate is worth more than any finite gain elsewhere.
    permutation, values = metrics.best_permutation(
        references[:2], np.stack([references[0], references[0] + 1e-9 * references[1]])
    )
    np.testing.assert_array_equal(permutation, [0, 1])
    assert values[0] == math.inf
    permutation, _ = metrics.best_permutation(np.zeros((3, 5)), np.zeros((3, 5)))
    np.testing.assert_array_equal(permutation, [0, 1, 2])


@pytest.mark.parametrize("useless", [-math.inf, math.nan])
def test_no_finite_value_makes_good_for_a_useless_one(useless):
    values = np.array([[useless, 0.0], [10.0, 200.0]])
    number = np.arange(2.0)[:, None]  # stands for a waveform
    permutation, matched = metrics.best_permutation(
        number, number, lambda s, e: values[int(s[0]), int(e[0])]
    )
    np.testing.assert_array_equal(permutation, [1, 0])
    np.testing.assert_array_equal(matched, [0.0, 10.0])


def test_read_only_strided_and_float32_sources():
    references, estimates = draw_sources(0, 3, 80)
    before = references.copy(), estimates.copy()
    references.flags.writeable = estimates.flags.writeable = False
    strided = metrics.si_bss(references[:, ::2], estimates[:, ::2])
    copied = metrics.si_bss(before[0][:, ::2].copy(), before[1][:, ::2].copy())
    np.testing.assert_array_equal(strided, copied)
    metrics.best_permutation(references, estimates)
    np.testing.assert_array_equal([references, estimates], before)
    single = [x.astype(np.float32) for x in before]
    double = [x.astype(np.float64) for x in single]
    np.testing.assert_array_equal(metrics.si_bss(*single), metrics.si_bss(*double))
    assert metrics.si_bss(*single)[0].dtype == np.float64
    tiny = metrics.si_bss(1e-200 * before[0], 1e200 * before[1])
    np.testing.assert_allclose(tiny, metrics.si_bss(*before), rtol=0, atol=LAW)


@pytest.mark.parametrize("function", [metrics.si_bss, metrics.best_permutation])
@pytest.mark.parametrize(
    ("references", "estimates", "says"),
    [
        (np.ones((2, 4)), np.ones((2, 5)), r"one shape, got \(2, 4\) and \(2, 5\)"),
        (np.ones(4), np.ones(4), r"must be \(S, N\)"),
        (np.ones((2, 3, 4)), np.ones((2, 3, 4)), r"must be \(S, N\)"),
        (np.ones((2, 4), int), np.ones((2, 4)), "references must hold floating-point"),
        (np.ones((2, 4)), np.full((2, 4), np.inf), "estimates must be finite"),
    ],
)
def test_wrong_sources_are_named(function, references, estimates, says):
    with pytest.raises(ShapeError, match=says):
        function(references, estimates)


# Input ----------------------------------------------------------------------------------------


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
