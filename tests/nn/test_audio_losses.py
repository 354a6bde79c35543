"""Losses of waveforms against loops over their definitions, the complex step, and their laws."""

import cmath
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scratchaudio import metrics
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import (
    best_order,
    complex_step,
    fourth_order_difference,
    l1,
    mse,
    multi_resolution_stft_loss,
    permutation_invariant,
    si_sdr_loss,
    snr_loss,
)

shapes = st.lists(st.integers(2, 5), min_size=1, max_size=2, unique=True)
seeds = st.integers(0, 2**32 - 1)
RESOLUTIONS = ((16, 5, 12), (24, 7, 20), (9, 2, 8))


def short_stft_loss(prediction, target):
    return multi_resolution_stft_loss(prediction, target, RESOLUTIONS)


def check(function, e, s, tolerance=1e-11):
    """Gradient against the complex step, and nothing changed."""
    before = e.copy(), s.copy()
    loss, de = function(e, s)
    assert type(loss) is float
    measured = complex_step(lambda z: function(z, s)[0], e)
    assert np.linalg.norm(measured) > 1e-3
    np.testing.assert_allclose(de, measured, rtol=0, atol=tolerance * abs(measured).max())
    assert np.array_equal(e, before[0]) and np.array_equal(s, before[1])
    again = function(e, s)
    assert again[0] == loss and np.array_equal(again[1], de)
    return loss, de


# SI-SDR ------------------------------------------------------------------------------------------


def si_sdr_one(e, s, zero_mean, eps):
    if zero_mean:
        e, s = e - sum(e) / len(e), s - sum(s) / len(s)
    inner = sum(x * y for x, y in zip(e, s, strict=True))
    ee, ss = sum(x * x for x in e), sum(x * x for x in s)
    cosine = inner / math.sqrt(ee * ss)
    return -10 * math.log10((cosine**2 + eps) / (1 - cosine**2 + eps))


@given(shape=shapes, seed=seeds, zero_mean=st.booleans(), eps=st.sampled_from([1e-8, 1e-2, 1]))
def test_si_sdr_loss(shape, seed, zero_mean, eps):
    rng = np.random.default_rng(seed)
    s = rng.standard_normal((*shape, 7)) + 0.3
    e = s + rng.standard_normal(s.shape) - 0.2
    loss, _ = check(lambda e, s: si_sdr_loss(e, s, zero_mean, eps), e, s)
    rows = [si_sdr_one(e[i], s[i], zero_mean, eps) for i in np.ndindex(*shape)]
    assert loss == pytest.approx(sum(rows) / len(rows), rel=1e-8, abs=1e-8)


@given(shape=shapes, seed=seeds, zero_mean=st.booleans(), level=st.floats(-3, 1))
def test_it_is_the_metric_with_a_minus(shape, seed, zero_mean, level):
    rng = np.random.default_rng(seed)
    s = rng.standard_normal((*shape, 50))
    e = s + 10**level * rng.standard_normal(s.shape)
    loss, _ = si_sdr_loss(e, s, zero_mean=zero_mean, eps=1e-20)
    assert loss == pytest.approx(-metrics.si_sdr(s, e, zero_mean=zero_mean).mean(), rel=1e-9)
    default, _ = si_sdr_loss(e, s, zero_mean=zero_mean)
    assert default == pytest.approx(loss, abs=0.1)  # 60 dB and less: eps is hardly seen


@given(
    seed=seeds, gain=st.floats(-1e3, 1e3), target_gain=st.floats(0.01, 100), offset=st.floats(-2, 2)
)
def test_loudness_is_free(seed, gain, target_gain, offset):
    assume(abs(gain) > 1e-3)
    rng = np.random.default_rng(seed)
    s, e = rng.standard_normal((2, 3, 40))
    loss, de = si_sdr_loss(e, s)
    other, dother = si_sdr_loss(gain * e + offset, target_gain * s + offset)
    assert other == pytest.approx(loss, rel=1e-8, abs=1e-8)
    np.testing.assert_allclose(dother, de / gain, rtol=1e-6, atol=1e-9 * abs(de / gain).max())
    # so that neither a gain nor, with zero_mean, an offset is a direction to go in
    norms = np.linalg.norm(e, axis=-1) * np.linalg.norm(de, axis=-1)
    assert (abs((e * de).sum(axis=-1)) <= 1e-13 * norms).all()
    assert (abs(de.sum(axis=-1)) <= 1e-13 * math.sqrt(40) * np.linalg.norm(de, axis=-1)).all()


def test_a_step_against_the_gradient_helps():
    rng = np.random.default_rng(0)
    s, e = rng.standard_normal((2, 100))
    first = loss = si_sdr_loss(e, s)[0]
    for _ in range(50):
        _, de = si_sdr_loss(e, s)
        e -= 0.1 * de
        assert si_sdr_loss(e, s)[0] < loss
        loss = si_sdr_loss(e, s)[0]
    assert loss < first - 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zero_mean", [False, True])
def test_extremes_of_si_sdr(dtype, zero_mean):
    rng = np.random.default_rng(1)
    s, e = rng.standard_normal((2, 100)).astype(dtype)
    zero, worst = np.zeros(100, dtype), 10 * math.log10(1e8 + 1)
    loss, de = si_sdr_loss(s, s, zero_mean)  # perfect
    assert loss == pytest.approx(-worst, abs=1e-4)
    assert np.linalg.norm(de) < 30  # 8.7 / eps |r|, and |r| is rounding
    loss, de = si_sdr_loss(zero, s, zero_mean)  # silent prediction
    assert loss == pytest.approx(worst, abs=1e-4)
    assert not de.any()
    for silence in [zero] + [np.full(100, 0.3, dtype)] * zero_mean:  # silent target
        loss, de = si_sdr_loss(e, silence, zero_mean)
        assert (loss, de.any()) == (0, False)
        loss, de = si_sdr_loss(zero, silence, zero_mean)
        assert (loss, de.any()) == (0, False)
    for subnormal in np.finfo(dtype).smallest_subnormal * np.array([1, 100], dtype):
        loss, de = si_sdr_loss(subnormal * e.round(), s, zero_mean)  # counts as silent
        assert loss == pytest.approx(worst, abs=1e-4)
        assert abs(de).max() < 1e-30  # 1 / |e| would be infinite
    expected, de = si_sdr_loss(e, s, zero_mean)
    assert de.dtype == dtype
    for power in (-100, 100):  # squares would vanish and overflow in float32
        gain = dtype(2.0**power)
        loss, dscaled = si_sdr_loss(gain * e, gain * s, zero_mean)
        assert loss == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(dscaled * gain, de, rtol=1e-5)
        # beside a waveform of ordinary loudness: each row has a scale of its own
        loss, dboth = si_sdr_loss(np.stack([e, gain * e]), np.stack([gain * s, s]), zero_mean)
        assert loss == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(dboth[0] * 2, de, rtol=1e-5)
        np.testing.assert_allclose(dboth[1] * 2 * gain, de, rtol=1e-5)


def test_a_silent_target_leaves_the_others_alone():
    rng = np.random.default_rng(2)
    s, e = rng.standard_normal((2, 3, 40))
    loss, de = si_sdr_loss(e[:2], s[:2])
    s[2] = 0
    with_silence, dwith_silence = si_sdr_loss(e, s)
    assert with_silence == pytest.approx(loss * 2 / 3, rel=1e-13)
    np.testing.assert_allclose(dwith_silence[:2], de * 2 / 3, rtol=1e-13)
    assert not dwith_silence[2].any()


# SNR ---------------------------------------------------------------------------------------------


def snr_one(e, s, x, softening):
    left = sum((a - b) ** 2 for a, b in zip(e, s, strict=True))
    mixed = sum(a * a for a in x)
    return 10 * math.log10((left + softening * mixed) / mixed)


@given(shape=shapes, seed=seeds, softening=st.sampled_from([1e-6, 1e-3, 0.5]))
def test_snr_loss(shape, seed, softening):
    rng = np.random.default_rng(seed)
    e, s, x = rng.standard_normal((3, *shape, 6))
    loss, _ = check(lambda e, s: snr_loss(e, s, x, softening), e, s)
    rows = zip(*(y.reshape(-1, 6) for y in (e, s, x)), strict=True)
    expected = [snr_one(*row, softening) for row in rows]
    assert loss == pytest.approx(np.mean(expected), rel=1e-12, abs=1e-12)


def test_it_is_minus_the_snr_but_for_the_mixture():
    e, s, x = np.random.default_rng(0).standard_normal((3, 400))
    constant = 10 * math.log10(np.sum(s * s) / np.sum(x * x))
    assert snr_loss(e, s, x, 1e-12)[0] == pytest.approx(constant - metrics.snr(s, e), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_of_snr(dtype):
    s, x = np.random.default_rng(1).standard_normal((2, 100)).astype(dtype)
    zero = np.zeros(100, dtype)
    loss, de = snr_loss(s, s, x)
    assert loss == pytest.approx(-30, abs=1e-4) and not de.any()
    assert snr_loss(zero, zero, x)[0] == pytest.approx(-30, abs=1e-4), "silence where silence is"
    loss, de = snr_loss(x, zero, x)  # all of the mixture, where nobody sings
    assert loss == pytest.approx(10 * math.log10(1.001), abs=1e-4)
    assert de.dtype == dtype and (de * x).sum() > 0
    loss, de = snr_loss(s, zero, zero)  # silence in, silence asked for
    assert loss == 0 and not de.any()
    expected, de = snr_loss(0.5 * s, s, x)
    for power in (-100, 100):
        gain = dtype(2.0**power)
        loss, dscaled = snr_loss(gain * 0.5 * s, gain * s, gain * x)
        assert loss == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(dscaled * gain, de, rtol=1e-5)


def test_what_snr_loss_refuses():
    x = np.ones((2, 50))
    with pytest.raises(ShapeError, match=r"got target \(2, 49\) for prediction \(2, 50\)"):
        snr_loss(x, x[:, 1:], x)
    with pytest.raises(ShapeError, match=r"mixture must have .* \(2, 50\), got \(2, 49\)"):
        snr_loss(x, x, x[:, 1:])
    for softening in (0, -1, math.nan):
        with pytest.raises(ConfigError, match=f"softening must be positive, got {softening}"):
            snr_loss(x, x, x, softening)


# Magnitudes of STFTs -----------------------------------------------------------------------------


def magnitudes(x, n_fft, hop, win_length, eps):
    """sqrt(max(|X|^2, eps)) by the definition of the DFT, of x reflected at its ends."""
    border = n_fft // 2
    x = [
        x[abs(i)] if i < len(x) else x[2 * len(x) - 2 - i] for i in range(-border, len(x) + border)
    ]
    left = (n_fft - win_length) // 2
    T = 1 + (len(x) - n_fft) // hop
    A = np.empty((1 + n_fft // 2, T))
    for k, t in np.ndindex(A.shape):
        X = 0
        for n in range(win_length):
            w = math.sin(math.pi * n / win_length) ** 2
            angle = -2 * math.pi * k * (left + n) / n_fft
            X += w * x[t * hop + left + n] * cmath.exp(1j * angle)
        A[k, t] = math.sqrt(max(abs(X) ** 2, eps))
    return A


def stft_loss_one(e, s, eps):
    total = 0.0
    for n_fft, hop, win_length in RESOLUTIONS:
        A, B = (magnitudes(x, n_fft, hop, win_length, eps) for x in (e, s))
        apart = sum((a - b) ** 2 for a, b in zip(A.flat, B.flat, strict=True))
        size = sum(b**2 for b in B.flat)
        ratios = [abs(math.log(a) - math.log(b)) for a, b in zip(A.flat, B.flat, strict=True)]
        total += math.sqrt(apart / size) + sum(ratios) / len(ratios)
    return total / len(RESOLUTIONS)


@pytest.mark.parametrize("eps", [1e-7, 0.5])
def test_multi_resolution_stft_loss(eps):
    rng = np.random.default_rng(3)
    e, s = rng.standard_normal((2, 3, 1, 25))
    loss, _ = check(lambda e, s: multi_resolution_stft_loss(e, s, RESOLUTIONS, eps), e, s)
    rows = [stft_loss_one(e[i], s[i], eps) for i in np.ndindex(3, 1)]
    assert loss == pytest.approx(sum(rows) / 3, rel=1e-12)


def test_its_gradient_by_differences():
    """Small steps: among hundreds of |log A - log B| one is always near its kink."""
    e, s = np.random.default_rng(4).standard_normal((2, 2, 17))
    _, de = short_stft_loss(e, s)
    measured = fourth_order_difference(lambda z: short_stft_loss(z, s)[0], e, h=1e-5)
    np.testing.assert_allclose(de, measured, atol=1e-7 * abs(measured).max())


@given(seed=seeds, N=st.integers(13, 60), log_gain=st.floats(-4, 2), sign=st.sampled_from([-1, 1]))
def test_zero_for_equal_magnitudes_else_positive(seed, N, log_gain, sign):
    s = np.random.default_rng(seed).standard_normal((2, N))
    loss, de = short_stft_loss(sign * s, s)
    assert loss == 0
    assert not de.any()
    loss, de = short_stft_loss(10**log_gain * s, s)
    gain = 10**log_gain
    if abs(gain - 1) > 1e-6:
        assert loss > 0
        assert np.sign((de * s).sum()) == np.sign(gain - 1)  # louder is worse only if too loud
    # a gain alone: |g - 1| + |log g|, as long as the floor is not reached
    if gain > 0.1:
        assert loss == pytest.approx(abs(gain - 1) + abs(math.log(gain)), abs=0.02)


@given(seed=seeds)
def test_every_waveform_counts_for_itself(seed):
    """The mean of the losses of single waveforms, whatever their loudness."""
    rng = np.random.default_rng(seed)
    e, s = rng.standard_normal((2, 3, 30)) * np.array([[0.01], [1.0], [100.0]])
    loss, de = short_stft_loss(e, s)
    single = [short_stft_loss(*pair) for pair in zip(e, s, strict=True)]
    assert loss == pytest.approx(sum(loss for loss, _ in single) / 3, rel=1e-12)
    for row, (_, expected) in zip(de, single, strict=True):
        np.testing.assert_allclose(row, expected / 3, atol=1e-13 * abs(expected).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_silence_in_a_spectrogram(dtype):
    """Below the floor there is nothing to hear and nothing to learn; never NaN."""
    s = np.random.default_rng(5).standard_normal((2, 40)).astype(dtype)
    zero = np.zeros_like(s)
    loss, de = short_stft_loss(zero, s)
    assert loss > 1
    assert not de.any()
    loss, de = short_stft_loss(s, zero)
    assert 1 < loss < math.inf
    assert np.isfinite(de).all() and de.any()
    loss, de = short_stft_loss(zero, zero)
    assert loss == 0
    assert not de.any()
    for y, x in ((s, zero), (zero, s), (s, s[::-1])):
        assert short_stft_loss(y, x)[1].dtype == dtype


def test_default_resolutions_are_those_of_the_paper():
    e, s = np.random.default_rng(6).standard_normal((2, 1500))
    paper = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
    loss, de = multi_resolution_stft_loss(e, s)
    other, dother = multi_resolution_stft_loss(e, s, paper, 1e-7)
    assert loss == other and np.array_equal(de, dother)
    single = [multi_resolution_stft_loss(e, s, [resolution])[0] for resolution in paper]
    assert loss == pytest.approx(sum(single) / 3, rel=1e-14)


# Sources in any order ----------------------------------------------------------------------------


def one_stft_loss(prediction, target):
    return multi_resolution_stft_loss(prediction, target, [(9, 4, 8)])


LOSSES = [si_sdr_loss, mse, l1, one_stft_loss]


def by_all_permutations(function, e, s):
    """Mean loss and gradient of the best of all S! orders, and those orders."""
    total, gradient, orders = 0.0, np.zeros_like(e), []
    for b in range(len(e)):
        best = math.inf
        for order in itertools.permutations(range(e.shape[1])):
            pairs = [function(e[b, i], s[b, j]) for j, i in enumerate(order)]
            loss = sum(loss for loss, _ in pairs)
            if loss < best:
                best, chosen, chosen_pairs = loss, order, pairs
        total += best
        orders.append(chosen)
        for i, (_, pair_gradient) in zip(chosen, chosen_pairs, strict=True):
            gradient[b, i] = pair_gradient
    n = e.shape[0] * e.shape[1]
    return total / n, gradient / n, np.array(orders)


@pytest.mark.parametrize("function", LOSSES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("S", [1, 2, 3, 4])
def test_permutation_invariant(function, S):
    rng = np.random.default_rng(S)
    e, s = rng.standard_normal((2, 5, S, 20))
    loss, de = permutation_invariant(function, e, s)
    expected, dexpected, orders = by_all_permutations(function, e, s)
    assert type(loss) is float
    assert loss == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(de, dexpected, rtol=1e-13, atol=1e-16)
    assert np.array_equal(best_order(function, e, s), orders)
    assert S < 3 or len(np.unique(orders, axis=0)) > 1  # each example has its own order


@pytest.mark.parametrize("function", LOSSES[:3], ids=lambda f: f.__name__)
def test_its_gradient_by_the_complex_step(function):
    e, s = np.random.default_rng(7).standard_normal((2, 2, 3, 13))
    check(lambda e, s: permutation_invariant(function, e, s), e, s)


@given(seed=seeds, S=st.integers(1, 4), B=st.integers(1, 3))
def test_the_order_of_targets_is_free(seed, S, B):
    rng = np.random.default_rng(seed)
    e, s = rng.standard_normal((2, B, S, 15))
    loss, de = permutation_invariant(si_sdr_loss, e, s)
    order = rng.permutation(S)
    other, dother = permutation_invariant(si_sdr_loss, e, s[:, order])
    assert other == pytest.approx(loss, rel=1e-12)
    assert np.array_equal(dother, de)
    other, dother = permutation_invariant(si_sdr_loss, e[:, order], s)
    assert other == pytest.approx(loss, rel=1e-12)
    assert np.array_equal(dother, de[:, order])
    assert loss <= si_sdr_loss(e, s)[0] + 1e-12  # no order is better than the best


def test_the_best_order_undoes_a_shuffle_and_is_the_metrics():
    rng = np.random.default_rng(8)
    s = rng.standard_normal((6, 4, 50))
    e = np.stack([sources[rng.permutation(4)] for sources in s])
    e += 0.5 * rng.standard_normal(e.shape)
    order = best_order(si_sdr_loss, e, s)
    for b in range(6):
        expected, values = metrics.best_permutation(s[b], e[b])
        assert np.array_equal(order[b], expected)
        assert values.mean() == pytest.approx(
            -si_sdr_loss(e[b][order[b]], s[b], zero_mean=False)[0], abs=1e-4
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_permutations_keep_dtype_and_take_more_axes(dtype):
    e, s = np.random.default_rng(9).standard_normal((2, 3, 2, 5, 4)).astype(dtype)
    loss, de = permutation_invariant(mse, e, s)
    assert type(loss) is float
    assert de.dtype == dtype and de.shape == e.shape
    s[:, 1] = 0  # one voice is silent
    loss, de = permutation_invariant(si_sdr_loss, e[..., 0], s[..., 0])
    assert math.isfinite(loss) and np.isfinite(de).all()


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [si_sdr_loss, multi_resolution_stft_loss])
def test_waveforms_are_checked(function):
    x = np.ones((2, 50))
    with pytest.raises(ShapeError, match=r"got target \(2, 49\) for prediction \(2, 50\)"):
        function(x, x[:, 1:])
    with pytest.raises(ShapeError, match="prediction must be floating-point .*got dtype int64"):
        function(x.astype(int), x)
    with pytest.raises(ShapeError, match=r"at least one entry, got shape \(2, 0\)"):
        function(x[:, :0], x[:, :0])
    with pytest.raises(ShapeError, match=r"waveforms \(\.\.\., N\), got a single number"):
        function(np.array(1.0), np.array(1.0))
    for eps in (0, -1, math.nan):
        with pytest.raises(ConfigError, match=f"eps must be positive, got {eps}"):
            function(x, x, eps=eps)


def test_resolutions_are_checked():
    x = np.ones((2, 50))
    with pytest.raises(ConfigError, match="resolutions must hold at least one"):
        multi_resolution_stft_loss(x, x, ())
    with pytest.raises(ConfigError, match="win_length must be at most n_fft=8, got 9"):
        multi_resolution_stft_loss(x, x, [(8, 2, 9)])
    with pytest.raises(ShapeError, match=r"x must be finite, but x\[1, 3\] is inf"):
        multi_resolution_stft_loss(np.where(np.arange(100).reshape(2, 50) == 53, np.inf, x), x)


def test_sources_are_checked():
    for function in (permutation_invariant, best_order):
        with pytest.raises(ShapeError, match=r"sources \(B, S, N\), got shape \(2, 50\)"):
            function(mse, np.ones((2, 50)), np.ones((2, 50)))
        with pytest.raises(ShapeError, match=r"got target \(3, 1, 5\) for prediction \(3, 2, 5\)"):
            function(mse, np.ones((3, 2, 5)), np.ones((3, 1, 5)))
        e = np.ones((3, 2, 5))
        e[2, 1, 0] = np.nan
        with pytest.raises(ShapeError, match=r"prediction\[2, 1\] with target\[2, 0\] is nan"):
            function(mse, e, np.ones((3, 2, 5)))
