"""Starts of a factorisation: what they promise, and scikit-learn's NNDSVD."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from golden.make_sklearn_nmf import draw
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.factorization import harmonic_spectra, nmf, nndsvd_factors, random_factors

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "sklearn_nmf.json").read_text(encoding="utf-8")
)
seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, K=st.integers(1, 4), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_random_factors_are_positive_and_about_as_loud_as_v(seed, K, scale):
    V = scale * np.random.default_rng(seed).random((50, 70))
    W, H = random_factors(V, K, rng=seed)
    assert W.shape == (50, K) and H.shape == (K, 70)
    assert W.min() > 0 and H.min() > 0
    # The mean of |normal| is sqrt(2 / pi), that of a product of two 2 / pi.
    assert (W @ H).mean() == pytest.approx(2 / math.pi * V.mean(), rel=0.6)
    np.testing.assert_array_equal(random_factors(V, K, rng=seed)[0], W)
    assert not np.array_equal(random_factors(V, K, rng=seed + 1)[0], W)


def test_random_factors_of_silence_and_of_float32():
    W, H = random_factors(np.zeros((5, 7), np.float32), 3, rng=0)
    assert W.dtype == H.dtype == np.float32
    assert W.min() > 0 and H.min() > 0


@pytest.mark.parametrize(("name", "fill"), [("nndsvd", 0), ("nndsvda", None)])
def test_nndsvd_has_scikit_learns_numbers(name, fill):
    V, W, _ = draw()
    mine = nndsvd_factors(V, W.shape[1], fill=fill)
    for got, key in zip(mine, "WH", strict=True):
        np.testing.assert_allclose(got, GOLDEN[name][key], rtol=1e-9, atol=1e-12)


def test_nndsvd_of_one_component_is_the_first_singular_pair():
    V, _, _ = draw()
    u, s, v = np.linalg.svd(V)
    W, H = nndsvd_factors(V, 1)
    np.testing.assert_allclose(W @ H, s[0] * np.outer(u[:, 0], v[0]), rtol=1e-10)


@given(seed=seeds)
def test_nndsvd_begins_nearer_than_chance_and_is_the_same_each_time(seed):
    rng = np.random.default_rng(seed)
    V = rng.random((20, 3)) ** 3 @ rng.random((3, 30)) ** 3 + 0.01 * rng.random((20, 30))
    W, H = nndsvd_factors(V, 3)
    assert W.min() > 0 and H.min() > 0, "updates could not move an entry that is 0"
    again = nndsvd_factors(V, 3)
    np.testing.assert_array_equal(W, again[0])
    by_chance = random_factors(V, 3, rng=seed)
    begun = [np.square(V - A @ B).sum() for A, B in ((W, H), by_chance)]
    assert begun[0] < begun[1]


def test_nndsvd_fills_with_what_is_asked_for():
    V, W, _ = draw()
    zeros, filled = nndsvd_factors(V, 3, fill=0), nndsvd_factors(V, 3, fill=0.5)
    for with_zeros, with_half in zip(zeros, filled, strict=True):
        assert (with_zeros == 0).any()
        np.testing.assert_array_equal(with_half[with_zeros == 0], 0.5)
        np.testing.assert_array_equal(with_half[with_zeros > 0], with_zeros[with_zeros > 0])


def test_nndsvd_of_a_matrix_of_lower_rank_and_of_silence():
    V = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    W, H = nndsvd_factors(V, 3)
    assert np.isfinite(W).all() and np.isfinite(H).all()
    W, H = nndsvd_factors(np.zeros((3, 4)), 2)
    assert not W.any() and not H.any()


# Harmonic spectra --------------------------------------------------------------------------------


@pytest.mark.parametrize("pitch", [220.0, 233.1, 441.7])
def test_a_harmonic_spectrum_is_that_of_a_sung_note(pitch):
    """The STFT of such a wave has the same shape: its partials are the transforms of the window."""
    sr, n_fft, tilt = 16000, 1024, 1.5
    t = np.arange(sr) / sr
    x = sum(h**-tilt * np.sin(2 * np.pi * h * pitch * t + h) for h in range(1, 11))
    measured = np.abs(dsp.stft(x, n_fft=n_fft, hop_length=256))[:, 30]
    W = harmonic_spectra([pitch], sr, n_fft, n_harmonics=10, tilt=tilt)[:, 0]
    measured = measured * 2 / (n_fft / 2)  # a sine of amplitude 1 has a peak of n_fft / 4
    np.testing.assert_allclose(W[W > 0.02], measured[W > 0.02], atol=0.03)


def test_between_the_harmonics_there_is_nothing():
    W = harmonic_spectra([1000.0, 1500.0], 16000, 512, n_harmonics=3)
    assert W.shape == (257, 2)
    bins = np.arange(257) * 16000 / 512
    near = np.min([abs(bins - 1000.0 * h) for h in (1, 2, 3)], axis=0) < 2 * 16000 / 512
    assert (W[~near, 0] == 0).all() and (W[near, 0] > 0).all()
    strongest = W[[32, 64, 96], 0]
    np.testing.assert_allclose(strongest, [1, 1 / 2, 1 / 3], rtol=1e-12)


def test_harmonics_above_fmax_are_left_out():
    W = harmonic_spectra([1000.0], 16000, 512, n_harmonics=20, fmax=2500)[:, 0]
    assert W[32] > 0 and W[64] > 0 and not W[70:].any()
    whole = harmonic_spectra([1000.0], 16000, 512, n_harmonics=20)[:, 0]
    assert whole[7 * 32] > 0


def test_notes_of_a_harmonic_dictionary_stay_notes():
    """Fitted to another note, a spectrum cannot become it: between its partials it is 0."""
    W = harmonic_spectra([440.0, 554.4], 16000, 1024)
    V = np.abs(np.random.default_rng(0).standard_normal((513, 20))) + 0.01
    fitted = nmf(V, W, np.ones((2, 20)), n_iter=20, tol=0).W
    np.testing.assert_array_equal(fitted == 0, W == 0)


# What they refuse --------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [random_factors, nndsvd_factors])
def test_v_must_be_a_spectrogram(start):
    with pytest.raises(ShapeError, match=r"matrix that is not negative, got shape \(4,\)"):
        start(np.ones(4), 1)
    with pytest.raises(ShapeError, match="not negative"):
        start(-np.ones((4, 5)), 1)
    with pytest.raises(ShapeError, match=r"V\[0, 0\] is nan"):
        start(np.full((4, 5), np.nan), 1)
    with pytest.raises(ConfigError, match="n_components must be an integer of at least 1"):
        start(np.ones((4, 5)), 0)


def test_nndsvd_has_no_more_components_than_singular_vectors():
    with pytest.raises(ConfigError, match=r"at most 4, the number of singular vectors.* got 5"):
        nndsvd_factors(np.ones((4, 6)), 5)
    with pytest.raises(ConfigError, match="fill must be None or a finite number"):
        nndsvd_factors(np.ones((4, 6)), 2, fill=-1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pitches": []}, ShapeError, "pitches must be a list"),
        ({"pitches": [[100.0]]}, ShapeError, "pitches must be a list"),
        ({"pitches": [0.0]}, ConfigError, "between 0 and 8000 Hz"),
        ({"pitches": [9000.0]}, ConfigError, "between 0 and 8000 Hz"),
        ({"pitches": [math.nan]}, ConfigError, "between 0 and 8000 Hz"),
        ({"n_harmonics": 0}, ConfigError, "n_harmonics must be"),
    ],
)
def test_impossible_pitches(arguments, error, message):
    with pytest.raises(error, match=message):
        harmonic_spectra(**({"pitches": [100.0], "sr": 16000, "n_fft": 512} | arguments))
