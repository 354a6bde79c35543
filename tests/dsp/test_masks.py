"""Laws of scratchaudio/dsp/masks.py: ideal masks bin by bin, sums to one, and the oracle ladder."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.io import load

SPEECH = Path(__file__).parents[2] / "sounds" / "speech.wav"
ROUNDING = 1e-12
shapes = st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple)
seeds = st.integers(0, 9999)


def complex_normal(rng, shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def draw_bins(seed, shape, silent=0.3):
    """Speech and noise of which either, or both, are exactly 0 in some bins."""
    rng = np.random.default_rng(seed)
    S, N = complex_normal(rng, shape), complex_normal(rng, shape)
    return S * (rng.random(shape) > silent), N * (rng.random(shape) > silent)


def si_sdr(reference, estimate):
    scaled = (estimate @ reference) / (reference @ reference) * reference
    return 10 * math.log10((scaled**2).sum() / ((estimate - scaled) ** 2).sum())


# Bin by bin -----------------------------------------------------------------------------------


@given(shape=shapes, seed=seeds, threshold_db=st.sampled_from([-6.0, 0, 3.5]))
def test_binary_mask_bin_by_bin(shape, seed, threshold_db):
    S, N = draw_bins(seed, shape)
    mask = dsp.ideal_binary_mask(S, N, threshold_db=threshold_db)
    for i in np.ndindex(shape):
        speech, noise = abs(S[i]) ** 2, abs(N[i]) ** 2
        if noise == 0:
            expected = 1.0 if speech > 0 else 0.0
        elif speech == 0:
            expected = 0.0
        else:
            expected = 1.0 if 10 * math.log10(speech / noise) > threshold_db else 0.0
        assert mask[i] == expected


def test_binary_mask_of_equal_levels_is_zero():
    S = np.array([[1 + 1j, 3.0, 0.0]])
    assert dsp.ideal_binary_mask(S, S).tolist() == [[0, 0, 0]]
    assert dsp.ideal_binary_mask(S, S, threshold_db=-0.1).tolist() == [[1, 1, 0]]


@given(shape=shapes, seed=seeds, power=st.sampled_from([0.5, 1, 2, 3.7]))
def test_ratio_mask_bin_by_bin(shape, seed, power):
    S, N = draw_bins(seed, shape)
    mask = dsp.ideal_ratio_mask(S, N, power=power)
    for i in np.ndindex(shape):
        speech, noise = abs(S[i]) ** power, abs(N[i]) ** power
        expected = speech / (speech + noise) if speech + noise > 0 else 0.5
        assert abs(mask[i] - expected) <= ROUNDING


def test_the_power_of_a_ratio_mask_is_2_unless_said():
    S, N = np.array([[3.0]]), np.array([[4.0]])
    assert abs(dsp.ideal_ratio_mask(S, N)[0, 0] - 9 / 25) <= ROUNDING
    assert abs(dsp.ratio_masks(np.array([S, N]))[1, 0, 0] - 16 / 25) <= ROUNDING


@given(shape=shapes, seed=seeds)
def test_phase_sensitive_mask_bin_by_bin(shape, seed):
    S, N = draw_bins(seed, shape)
    X = S + N
    mask = dsp.phase_sensitive_mask(S, X)
    for i in np.ndindex(shape):
        quotient = (S[i] / X[i]).real if X[i] != 0 else 0.0
        assert abs(mask[i] - min(max(quotient, 0.0), 1.0)) <= ROUNDING


@given(shape=shapes, seed=seeds)
def test_no_other_mask_comes_nearer_to_the_speech(shape, seed):
    S, N = draw_bins(seed, shape)
    X = S + N
    least = np.abs(S - dsp.apply_mask(X, dsp.phase_sensitive_mask(S, X)))
    rng = np.random.default_rng(seed + 1)
    others = [rng.random(shape) for _ in range(5)]
    others += [dsp.ideal_binary_mask(S, N), dsp.ideal_ratio_mask(S, N)]
    for mask in others:
        assert (least <= np.abs(S - dsp.apply_mask(X, mask)) + ROUNDING).all()


@given(shape=shapes, seed=seeds)
def test_with_phase_bin_by_bin(shape, seed):
    X, M = draw_bins(seed, shape)
    estimate = dsp.with_phase(np.abs(M), X)
    for i in np.ndindex(shape):
        angle = math.atan2(X[i].imag, X[i].real) if X[i] != 0 else 0.0
        expected = abs(M[i]) * complex(math.cos(angle), math.sin(angle))
        assert abs(estimate[i] - expected) <= ROUNDING
    np.testing.assert_allclose(dsp.with_phase(np.abs(X), X), X, atol=ROUNDING)


# Many sources ---------------------------------------------------------------------------------


@given(
    n_sources=st.integers(1, 6),
    shape=shapes,
    power=st.sampled_from([0.3, 1, 2, 8]),
    exponent=st.integers(-150, 150),
    seed=seeds,
)
def test_masks_sum_to_one_and_stems_to_the_mixture(n_sources, shape, power, exponent, seed):
    rng = np.random.default_rng(seed)
    magnitudes = np.exp(3 * rng.standard_normal((n_sources, *shape))) * 10.0**exponent
    magnitudes *= rng.random(magnitudes.shape) > 0.4
    masks = dsp.ratio_masks(magnitudes, power)
    assert masks.shape == magnitudes.shape
    assert masks.min() >= 0
    assert np.abs(masks.sum(axis=0) - 1).max() <= ROUNDING
    X = complex_normal(rng, shape)
    assert np.abs(dsp.apply_mask(X, masks).sum(axis=0) - X).max() <= ROUNDING
    # Shares of a bin without sources are equal; the others go by the ratio of the powers.
    for i in np.ndindex(shape):
        values = (magnitudes[(slice(None), *i)] / 10.0**exponent) ** power
        even = np.full(n_sources, 1 / n_sources)
        expected = values / values.sum() if values.any() else even
        np.testing.assert_allclose(masks[(slice(None), *i)], expected, atol=ROUNDING)


def test_a_mask_for_each_source_gives_an_estimate_for_each():
    rng = np.random.default_rng(0)
    X, masks = complex_normal(rng, (2, 5, 3)), rng.random((4, 2, 5, 3))
    estimates = dsp.apply_mask(X, masks)
    assert estimates.shape == (4, 2, 5, 3)
    for s in range(4):
        np.testing.assert_array_equal(estimates[s], dsp.apply_mask(X, masks[s]))
    np.testing.assert_array_equal(dsp.apply_mask(X, masks > 0.5), X * (masks > 0.5))
    assert dsp.apply_mask(X.astype(np.complex64), masks).dtype == np.complex64


# The ladder of a table ------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [0, 10])
def test_each_oracle_knows_more_and_gains_more(snr_db):
    clean, sr = load(SPEECH)
    clean = clean.astype(np.float64)
    mixture, noise = dsp.mix_at_snr(clean, dsp.NOISES["pink"](len(clean), sr, 3), snr_db)
    S, N, X = (dsp.stft(x, n_fft=512, hop_length=128) for x in (clean, noise, mixture))
    ladder = [
        X,
        dsp.apply_mask(X, dsp.ideal_binary_mask(S, N)),
        dsp.apply_mask(X, dsp.ideal_ratio_mask(S, N)),
        dsp.apply_mask(X, dsp.phase_sensitive_mask(S, X)),
        S,
    ]
    scores = [si_sdr(clean, dsp.istft(Y, hop_length=128, length=len(clean))) for Y in ladder]
    assert scores[1] >= scores[0] + 5
    assert scores[2] >= scores[1] + 0.15
    assert scores[3] >= scores[2] + 0.9
    assert scores[4] >= 100
    noisy_phase = dsp.istft(dsp.with_phase(np.abs(S), X), hop_length=128, length=len(clean))
    # The right magnitude with the wrong phase is not the nearest: the third mask shortens it.
    assert scores[0] + 3 <= si_sdr(clean, noisy_phase) <= scores[3] - 0.3


# Kinds of input -------------------------------------------------------------------------------

FUNCTIONS = {
    "ideal_binary_mask": lambda S, X: dsp.ideal_binary_mask(S, X),
    "ideal_ratio_mask": lambda S, X: dsp.ideal_ratio_mask(S, X),
    "phase_sensitive_mask": lambda S, X: dsp.phase_sensitive_mask(S, X),
    "ratio_masks": lambda S, X: dsp.ratio_masks(np.stack([np.abs(S), np.abs(X)]))[0],
    "apply_mask": lambda S, X: dsp.apply_mask(S, np.abs(X)),
    "with_phase": lambda S, X: dsp.with_phase(np.abs(S), X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtype_memory_and_silence(name):
    function = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    S, X = complex_normal(rng, (2, 5, 4)), complex_normal(rng, (2, 5, 4))
    S[0, 0], X[0, 0], X[1, 1] = 0, 0, 0
    S.flags.writeable = X.flags.writeable = False
    copies = S.copy(), X.copy()
    out = function(S, X)
    assert out.dtype == (complex if name in ("apply_mask", "with_phase") else float)
    np.testing.assert_array_equal(function(S, X), out)
    assert (copies[0] == S).all() and (copies[1] == X).all()
    single = function(S.astype(np.complex64), X.astype(np.complex64))
    assert single.dtype == (np.complex64 if np.iscomplexobj(out) else np.float32)
    if name != "ideal_binary_mask":
        assert np.abs(single - out).max() <= 1e-5
    across = function(S.swapaxes(0, 2), X.swapaxes(0, 2))  # not contiguous
    np.testing.assert_allclose(across, out.swapaxes(0, 2), atol=ROUNDING)
    silence = np.zeros((3, 2), complex)
    assert np.isfinite(function(silence, silence)).all()


@pytest.mark.parametrize("level", [1e-300, 1e-160, 1e160, 1e300])
def test_levels_near_the_ends_of_the_range(level):
    rng = np.random.default_rng(1)
    S, N = complex_normal(rng, (4, 3)), complex_normal(rng, (4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("ideal_ratio_mask", "phase_sensitive_mask", "ideal_binary_mask"):
            function = FUNCTIONS[name]
            np.testing.assert_allclose(function(level * S, level * N), function(S, N), rtol=1e-9)
        # A mixture that nearly cancels: the quotient is too large for a float, the mask is 1.
        assert dsp.phase_sensitive_mask(np.array([[1e200]]) + 0j, np.array([[1e-200]]) + 0j) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a: dsp.apply_mask(a, np.ones((3, 5))), ShapeError, r"\(5, 3\).*got \(3, 5\)"),
        (lambda a: dsp.apply_mask(a, np.ones((5, 1))), ShapeError, r"got \(5, 1\)"),
        (lambda a: dsp.apply_mask(a, np.ones(3)), ShapeError, r"got \(3,\)"),
        (lambda a: dsp.apply_mask(a[None], np.ones((5, 3))), ShapeError, r"got \(5, 3\)"),
        (lambda a: dsp.apply_mask(a, a), ShapeError, "real, finite gains; got dtype complex128"),
        (lambda a: dsp.apply_mask(a, np.full((5, 3), np.nan)), ShapeError, "real, finite"),
        (
            lambda a: dsp.apply_mask(a[0], np.ones(3)),
            ShapeError,
            r"X must have shape \(..., F, T\)",
        ),
        (lambda a: dsp.apply_mask(a * np.inf, np.ones((5, 3))), ShapeError, "X must be finite"),
        (lambda a: dsp.ideal_binary_mask(a, a[:4]), ShapeError, r"S and N must have one shape"),
        (lambda a: dsp.ideal_ratio_mask(a, a.T), ShapeError, r"got \(5, 3\) and \(3, 5\)"),
        (
            lambda a: dsp.phase_sensitive_mask(a, a[:, :2]),
            ShapeError,
            "S and X must have one shape",
        ),
        (lambda a: dsp.phase_sensitive_mask(np.abs(a), a), ShapeError, "S and X must be complex"),
        (lambda a: dsp.phase_sensitive_mask(a, np.abs(a)), ShapeError, "S and X must be complex"),
        (lambda a: dsp.with_phase(a, a), ShapeError, "magnitude must hold real numbers"),
        (lambda a: dsp.with_phase(-np.abs(a), a), ShapeError, "not negative"),
        (lambda a: dsp.with_phase(np.abs(a), np.abs(a)), ShapeError, "X must be complex"),
        (lambda a: dsp.ideal_binary_mask(a, a, threshold_db=np.nan), ConfigError, "threshold_db"),
        (lambda a: dsp.ideal_ratio_mask(a, a, power=0), ConfigError, "power must be .* got 0"),
        (lambda a: dsp.ratio_masks(np.abs(a)), ShapeError, r"must be \(S, ..., F, T\)"),
        (lambda a: dsp.ratio_masks(-np.abs(a)[None]), ShapeError, "must not be negative"),
        (lambda a: dsp.ratio_masks(a[None]), ShapeError, "magnitudes must hold floating-point"),
        (lambda a: dsp.ratio_masks(np.abs(a)[None], np.inf), ConfigError, "finite, got inf"),
        (lambda a: dsp.ratio_masks(np.zeros((2, 0, 3))), ShapeError, "at least one sample"),
        (lambda a: dsp.ideal_binary_mask(np.ones((2, 2), int), a), ShapeError, "got dtype int64"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message), np.errstate(invalid="ignore"):
        call(complex_normal(np.random.default_rng(0), (5, 3)))
