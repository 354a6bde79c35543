"""The multichannel Wiener filter: by loops over matrices, as Open-Unmix says, and by its laws."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.dsp.wiener import EPS, PEAK, expectation, maximization
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.metrics import si_sdr

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "openunmix.npz")
ROUNDS = json.loads(str(GOLDEN["rounds"]))
ROUNDING = 1e-10  # what a determinant leaves of 1e-16, relative to the mixture
LOUD_AND_SOFT = st.integers(-4, 6).map(lambda exponent: 10.0**exponent)
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(2, 4), st.integers(1, 2), st.integers(1, 4), st.integers(1, 6))


def complex_normal(rng, shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def draw(seed, S=3, C=2, F=4, T=5, level=1.0):
    """A mixture (C, F, T), and estimates (S, C, F, T) that do not even sum to it."""
    rng = np.random.default_rng(seed)
    X = level * complex_normal(rng, (C, F, T))
    Y = X * rng.uniform(0.1, 1, (S, C, F, T)) * np.exp(0.5j * rng.standard_normal((S, C, F, T)))
    return X, Y


def off(got, expected, X):
    """The largest difference, relative to the mixture's peak."""
    assert got.shape == expected.shape
    return np.abs(got - expected).max() / np.abs(X).max()


# The definition ----------------------------------------------------------------------------------


def covariance_of_the_mixture(v, R, f, t):
    """sqrt(EPS) I + sum_j v_j R_j for one time and frequency."""
    C = R.shape[-1]
    A = 1e-5 * np.eye(C, dtype=complex)
    for j in range(len(v)):
        A = A + v[j, f, t] * R[j, f]
    return A


def by_loops(X, Y, n_iter):
    """Every power a sum over channels, every covariance a sum of outer products, every inverse."""
    (S, C, F, T), y = Y.shape, Y.astype(complex)
    scale = max(1, max(abs(X[i]) for i in np.ndindex(X.shape)) / 10)
    x, y = X / scale, y / scale
    for _ in range(n_iter):
        v, R = np.zeros((S, F, T)), np.zeros((S, F, C, C), complex)
        for j, f in np.ndindex(S, F):
            for t in range(T):
                v[j, f, t] = sum(abs(y[j, c, f, t]) ** 2 for c in range(C)) / C
                R[j, f] += np.outer(y[j, :, f, t], y[j, :, f, t].conj())
            R[j, f] /= 1e-10 + sum(v[j, f, t] for t in range(T))
        for f, t in np.ndindex(F, T):
            inverse = np.linalg.inv(covariance_of_the_mixture(v, R, f, t))
            for j in range(S):
                y[j, :, f, t] = v[j, f, t] * R[j, f] @ inverse @ x[:, f, t]
    return y * scale


@given(seed=seeds, sizes=sizes, level=LOUD_AND_SOFT, n_iter=st.integers(1, 3))
def test_it_is_its_definition(seed, sizes, level, n_iter):
    X, Y = draw(seed, *sizes, level)
    copies = X.copy(), Y.copy()
    X.flags.writeable = Y.flags.writeable = False
    got = dsp.multichannel_wiener(X, Y, n_iter)
    assert got.dtype == complex and got.shape == Y.shape
    # The more often, the nearer to rank one, where numpy's inverse too has few digits.
    assert off(got, by_loops(X, Y, n_iter), X) <= ROUNDING * 100 ** (n_iter - 1)
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(Y, copies[1])
    np.testing.assert_array_equal(dsp.multichannel_wiener(X, Y, n_iter), got)


def test_one_round_is_what_is_done_unless_said():
    X, Y = draw(0)
    one = dsp.multichannel_wiener(X, Y)
    np.testing.assert_array_equal(one, dsp.multichannel_wiener(X, Y, 1))
    assert off(dsp.multichannel_wiener(X, Y, n_iter=2), one, X) > 1e-3


@given(seed=seeds, sizes=sizes, level=LOUD_AND_SOFT)
def test_two_rounds_are_one_round_twice(seed, sizes, level):
    X, Y = draw(seed, *sizes, level)
    twice = dsp.multichannel_wiener(X, dsp.multichannel_wiener(X, Y))
    assert off(dsp.multichannel_wiener(X, Y, 2), twice, X) <= 1e-8


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_open_unmix_gave(number):
    """From magnitudes with the mixture's phase, and the rest of it; torch's eps is a float32."""
    X, magnitudes, expected = (GOLDEN[f"{k}.{number}"] for k in ("X", "magnitudes", "result"))
    Y = dsp.with_phase(magnitudes, np.broadcast_to(X, magnitudes.shape))
    Y = np.concatenate([Y, [X - Y.sum(axis=0)]])
    got = dsp.multichannel_wiener(X, Y, ROUNDS[number])
    assert off(got, expected, X) <= 1e-6
    assert off(expected, Y, X) > 0.05, "the filter does something"


def test_the_golden_file_holds_what_it_should():
    assert str(GOLDEN["origin"]).startswith("openunmix 1.3.0")
    assert (EPS, PEAK) == (1e-10, 10), "Open-Unmix's, and those of the loops above"
    assert len(ROUNDS) >= 5 and max(ROUNDS) > 1
    peaks = [np.abs(GOLDEN[f"X.{k}"]).max() for k in range(len(ROUNDS))]
    assert min(peaks) < 0.1 and max(peaks) > 10 * PEAK, "soft ones, and those that are scaled"
    assert {len(GOLDEN[f"X.{k}"]) for k in range(len(ROUNDS))} == {1, 2}


@given(seed=seeds, sizes=sizes)
def test_the_covariance_of_sources_is_that_of_their_places(seed, sizes):
    """One that stands still: v is its power, R the outer product of its place, to 1e-6.

    v R = y y^H in each time and frequency; R is Hermitian, its trace C.
    """
    S, C, F, T = sizes
    rng = np.random.default_rng(seed)
    place, spectrum = complex_normal(rng, (S, C, F, 1)), 1 + complex_normal(rng, (S, 1, F, T))
    v, R = maximization(place * spectrum)
    assert v.shape == (S, F, T) and R.shape == (S, C, C, F)
    for j, f, t in np.ndindex(S, F, T):
        y = place[j, :, f, 0] * spectrum[j, 0, f, t]
        np.testing.assert_allclose(v[j, f, t], (abs(y) ** 2).mean(), rtol=1e-12)
        outer = np.outer(y, y.conj())
        np.testing.assert_allclose(v[j, f, t] * R[j, ..., f], outer, atol=1e-6 * abs(outer).max())


# What they sum to --------------------------------------------------------------------------------


@given(seed=seeds, sizes=sizes, level=LOUD_AND_SOFT)
def test_they_sum_to_the_mixture_but_for_the_regularisation(seed, sizes, level):
    """x - sum_j y_j = sqrt(EPS) A^-1 x, with A the covariance of the mixture."""
    X, Y = draw(seed, *sizes, level)
    scale = max(1, np.abs(X).max() / PEAK)
    v, R = maximization(Y / scale)
    lost = X - dsp.multichannel_wiener(X, Y).sum(axis=0)
    for f, t in np.ndindex(X.shape[1:]):
        A = covariance_of_the_mixture(v, R.transpose(0, 3, 1, 2), f, t)
        expected = 1e-5 * np.linalg.solve(A, X[:, f, t])
        np.testing.assert_allclose(lost[:, f, t], expected, atol=ROUNDING * np.abs(X).max())
        # A - sqrt(EPS) I is positive: of no time and frequency more is lost than there is
        assert np.linalg.norm(lost[:, f, t]) <= np.linalg.norm(X[:, f, t]) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("level", "most"), [(10.0, 1e-3), (1.0, 1e-3), (0.1, 1e-2)])
def test_a_mixture_that_is_heard_is_kept(seed, level, most):
    X, Y = draw(seed, S=2, F=30, T=20, level=level)
    lost = X - dsp.multichannel_wiener(X, Y).sum(axis=0)
    assert 1e-12 < np.linalg.norm(lost) / np.linalg.norm(X) <= most


def test_what_is_far_below_the_regularisation_fades_away():
    X, Y = draw(0, level=1e-5)
    assert np.abs(dsp.multichannel_wiener(X, Y)).max() <= 1e-3 * np.abs(X).max()


@given(seed=seeds, sizes=sizes, gain=st.floats(1, 1e9))
def test_beyond_the_peak_loudness_does_not_matter(seed, sizes, gain):
    X, Y = draw(seed, *sizes)
    X, Y = (2 * PEAK / np.abs(X).max() * array for array in (X, Y))
    louder = dsp.multichannel_wiener(gain * X, gain * Y)
    assert off(louder / gain, dsp.multichannel_wiener(X, Y), X) <= ROUNDING


def test_within_the_peak_it_does():
    """sqrt(EPS) has the same place whatever the mixture's peak, if that is below PEAK."""
    X, Y = draw(0)
    soft = dsp.multichannel_wiener(1e-3 * X, 1e-3 * Y)
    assert off(1e3 * soft, dsp.multichannel_wiener(X, Y), X) > 0.1


# Symmetries --------------------------------------------------------------------------------------


@given(seed=seeds, sizes=sizes, n_iter=st.integers(1, 2))
def test_the_order_of_the_sources_does_not_matter(seed, sizes, n_iter):
    X, Y = draw(seed, *sizes)
    order = np.random.default_rng(seed).permutation(len(Y))
    got = dsp.multichannel_wiener(X, Y[order], n_iter)
    assert off(got, dsp.multichannel_wiener(X, Y, n_iter)[order], X) <= 1e-8


@given(seed=seeds, sizes=sizes, n_iter=st.integers(1, 2))
def test_exchanged_channels_exchange_the_channels(seed, sizes, n_iter):
    X, Y = draw(seed, *sizes)
    got = dsp.multichannel_wiener(X[::-1], Y[:, ::-1], n_iter)
    assert off(got, dsp.multichannel_wiener(X, Y, n_iter)[:, ::-1], X) <= 1e-8


@given(seed=seeds, S=st.integers(2, 4), angle=st.floats(0, 6.3), n_iter=st.integers(1, 2))
def test_a_rotation_of_the_channels_rotates_the_sources(seed, S, angle, n_iter):
    """If no scaling comes between: a rotation changes the peak, and with it what EPS means."""
    X, Y = draw(seed, S)
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[c, -s], [s, c]])
    assert np.abs(X).max() < PEAK / np.sqrt(2)
    got = dsp.multichannel_wiener(*(np.einsum("dc,...cft->...dft", rotation, Z) for Z in (X, Y)),
                                  n_iter)  # fmt: skip
    expected = np.einsum("dc,scft->sdft", rotation, dsp.multichannel_wiener(X, Y, n_iter))
    assert off(got, expected, X) <= 1e-8


@pytest.mark.parametrize("seed", range(5))
def test_middle_and_side_are_such_a_rotation(seed):
    """And where there is scaling, it matters by as much as the regularisation does."""
    turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    X, Y = draw(seed, level=300.0)
    turned = dsp.multichannel_wiener(*(np.einsum("dc,...cft->...dft", turn, Z) for Z in (X, Y)))
    expected = np.einsum("dc,scft->sdft", turn, dsp.multichannel_wiener(X, Y))
    assert off(turned, expected, X) <= 1e-4


@given(seed=seeds, S=st.integers(2, 4), phases=st.tuples(st.floats(0, 6.3), st.floats(0, 6.3)))
def test_a_phase_of_each_channel_is_kept(seed, S, phases):
    """A delay of one channel, or its sign, is a place like any other."""
    X, Y = draw(seed, S)
    turn = np.exp(1j * np.array(phases))[:, None, None]
    got = dsp.multichannel_wiener(turn * X, turn * Y)
    assert off(got, turn * dsp.multichannel_wiener(X, Y), X) <= ROUNDING


@given(seed=seeds, S=st.integers(2, 4))
def test_one_channel_has_a_mask(seed, S):
    X, Y = draw(seed, S, C=1)
    v = np.abs(Y) ** 2
    mask = v / (v.sum(axis=0) + 1e-5)
    np.testing.assert_allclose(dsp.multichannel_wiener(X, Y), mask * X, rtol=1e-5)


@given(seed=seeds, S=st.integers(2, 4))
def test_two_channels_of_which_one_is_silent_are_one_channel_of_twice_the_power(seed, S):
    """The mean over channels halves v, and R = 2 makes up for it: as a song of one channel has."""
    X, Y = draw(seed, S, C=1)
    silent = np.zeros_like(X)
    got = dsp.multichannel_wiener(
        np.concatenate([X, silent]), np.concatenate([Y, np.zeros_like(Y)], axis=1)
    )
    np.testing.assert_array_equal(got[:, 1], 0)
    assert off(got[:, :1], dsp.multichannel_wiener(X, Y), X) <= 1e-6


# Kinds of input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1, 2])
def test_silence_stays_silent(C):
    X, Y = np.zeros((C, 4, 5), complex), np.zeros((3, C, 4, 5), complex)
    np.testing.assert_array_equal(dsp.multichannel_wiener(X, Y), 0)
    _, Y = draw(0, C=C)
    np.testing.assert_array_equal(dsp.multichannel_wiener(X, Y, 2), 0)  # nothing to share out


def test_silent_frames_bins_and_sources_stay_so():
    X, Y = draw(0)
    X[:, 1] = Y[:, :, 1] = 0
    X[..., 2] = Y[..., 2] = 0
    Y[1] = 0
    got = dsp.multichannel_wiener(X, Y, 3)
    assert np.isfinite(got).all() and got[0].any() and got[2].any()
    for silent in (got[:, :, 1], got[..., 2], got[1]):
        np.testing.assert_array_equal(silent, 0)


def test_no_estimate_where_something_sounds_gives_nothing():
    X, Y = draw(0)
    Y[:, :, 1] = 0
    got = dsp.multichannel_wiener(X, Y)
    np.testing.assert_array_equal(got[:, :, 1], 0)
    assert X[:, 1].any() and got[:, :, 0].any()


@given(seed=seeds, level=LOUD_AND_SOFT, n_iter=st.integers(1, 3))
def test_float32_is_rounded_at_the_end_only(seed, level, n_iter):
    X, Y = (array.astype(np.complex64) for array in draw(seed, level=level))
    double = dsp.multichannel_wiener(X.astype(complex), Y.astype(complex), n_iter)
    for mixture in (X, X.astype(complex)):
        single = dsp.multichannel_wiener(mixture, Y, n_iter)
        assert single.dtype == np.complex64
        np.testing.assert_array_equal(single, double.astype(np.complex64))


def test_the_loudest_and_the_softest_that_float32_holds():
    X, Y = (array.astype(np.complex64) for array in draw(0))
    for gain in (np.float32(5e37), np.float32(1e-40)):
        got = dsp.multichannel_wiener(gain * X, gain * Y)
        assert np.isfinite(got).all()
        assert got.any() == (gain > 1)


@given(seed=seeds, n_iter=st.integers(1, 3))
def test_two_channels_that_are_alike(seed, n_iter):
    """No matrix of the model has an inverse but for the regularisation; nothing breaks."""
    X, Y = draw(seed, C=1, level=100.0)
    X, Y = np.repeat(X, 2, axis=0), np.repeat(Y, 2, axis=1)
    got = dsp.multichannel_wiener(X, Y, n_iter)
    assert off(got[:, 0], got[:, 1], X) <= 1e-8
    assert off(got.sum(axis=0), X, X) <= 1e-3


def test_memory_order_does_not_matter():
    X, Y = draw(0)
    wide = np.zeros((*Y.shape, 2), complex)
    wide[..., 0] = Y
    got = dsp.multichannel_wiener(np.asfortranarray(X), wide[..., 0])
    np.testing.assert_allclose(got, dsp.multichannel_wiener(X, Y), rtol=1e-9)


# What it is for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_sources_in_two_places_are_told_apart(seed):
    """Each estimate holds a third of the other's magnitude; where they stand gives that away."""
    rng = np.random.default_rng(seed)
    t = np.arange(16000) / 8000
    dots = rng.standard_normal(t.size) * (np.sin(2 * np.pi * 3 * t) > 0)
    tones = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in (300, 800, 1700, 2900))
    sources = np.stack([dsp.pan(tones, -0.2), dsp.pan(dots, 0.7)])  # (2, 2, N)
    S = dsp.stft(sources, n_fft=512)
    X = S.sum(axis=0)
    leaky = np.stack([np.abs(S[0]) + np.abs(S[1]) / 3, np.abs(S[1]) + np.abs(S[0]) / 3])
    Y = dsp.with_phase(leaky, np.broadcast_to(X, S.shape))
    scores = [decibels(sources, Y)]
    scores += [decibels(sources, dsp.multichannel_wiener(X, Y, n)) for n in (1, 3)]
    assert min(scores[1] - scores[0]) > 3, scores
    assert min(scores[2] - scores[0]) > 1, scores  # more rounds are not always better
    # a mask of every channel by itself, from the same powers, gains less
    each = [dsp.multichannel_wiener(X[c : c + 1], Y[:, c : c + 1]) for c in (0, 1)]
    more = scores[1] - decibels(sources, np.concatenate(each, axis=1))
    assert more.mean() > 0.5, more


def decibels(sources, Y):
    """SI-SDR of each source, both channels as one waveform."""
    y = dsp.istft(Y, n_fft=512, length=sources.shape[-1])
    return np.array([si_sdr(s.ravel(), e.ravel()) for s, e in zip(sources, y, strict=True)])


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        np.ones((2, 4, 5)),
        np.ones((3, 4, 5), complex),
        np.ones((4, 5), complex),
        np.ones((1, 2, 4, 5), complex),
        np.ones((2, 0, 5), complex),
        np.ones((2, 4, 0), complex),
        np.ones((0, 4, 5), complex),
    ],
)
def test_mixtures_that_are_none(X):
    message = (
        rf"X must be a complex STFT of one or two channels, \(C, F, T\), got {X.dtype} of shape "
        rf"\({', '.join(map(str, X.shape))}\)"
    )
    with pytest.raises(ShapeError, match=message):
        dsp.multichannel_wiener(X, np.ones((2, *X.shape), complex))


@pytest.mark.parametrize(
    "Y",
    [
        np.ones((3, 2, 4, 5)),
        np.ones((1, 2, 4, 5), complex),
        np.ones((2, 4, 5), complex),
        np.ones((3, 1, 4, 5), complex),
        np.ones((3, 2, 5, 4), complex),
        np.ones((3, 2, 4, 5, 1), complex),
        np.ones((), complex),
    ],
)
def test_estimates_that_are_none(Y):
    message = (
        r"Y must be complex estimates of at least two sources, \(S, \*\(2, 4, 5\)\), got "
        rf"{Y.dtype} of shape \({', '.join(map(str, Y.shape))}.*add what is left of the mixture"
    )
    with pytest.raises(ShapeError, match=message):
        dsp.multichannel_wiener(np.ones((2, 4, 5), complex), Y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1j * np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_numbers_that_are_none(which, bad):
    arrays = draw(0)
    arrays[which][..., 1, 2] = bad
    with pytest.raises(ShapeError, match=f"{'XY'[which]} must hold finite numbers"):
        dsp.multichannel_wiener(*arrays)


@pytest.mark.parametrize("n_iter", [0, -1, 1.5, True, None])
def test_rounds_that_cannot_be(n_iter):
    with pytest.raises(ConfigError, match=f"n_iter must be an integer of at least 1, got {n_iter}"):
        dsp.multichannel_wiener(*draw(0), n_iter=n_iter)


def test_expectation_by_itself():
    """Two sources at right angles, each alone in a channel: each gets its channel."""
    X = np.array([[[3 + 1j]], [[2j]]])
    v = np.ones((2, 1, 1))
    R = np.zeros((2, 2, 2, 1))
    R[0, 0, 0] = R[1, 1, 1] = 2
    y = expectation(X, v, R)
    np.testing.assert_allclose(y[0, :, 0, 0], [(3 + 1j) * 2 / (2 + 1e-5), 0], atol=1e-12)
    np.testing.assert_allclose(y[1, :, 0, 0], [0, 2j * 2 / (2 + 1e-5)], atol=1e-12)
