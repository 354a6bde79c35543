"""Multiplicative updates and NNDSVD against scikit-learn, live, over drawn spectrograms."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF
from sklearn.decomposition._nmf import _initialize_nmf

from scratchaudio.factorization import beta_divergence, nmf, nndsvd_factors

pytestmark = pytest.mark.peers


def draw(seed, F, T, K, dtype):
    """A spectrogram of K decaying notes in noise, and a start."""
    rng = np.random.default_rng(seed)
    V = rng.random((F, K)) ** 4 @ rng.random((K, T)) ** 4 + 0.01 + 0.05 * rng.random((F, T))
    return tuple(A.astype(dtype) for A in (V, 0.1 + rng.random((F, K)), 0.1 + rng.random((K, T))))


def theirs(V, W, H, beta, n_iter):
    model = NMF(W.shape[1], init="custom", solver="mu", beta_loss=beta, max_iter=n_iter, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        W = model.fit_transform(V, W=W.copy(), H=H.copy())
    return W, model.components_


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-8)])
@pytest.mark.parametrize("beta", [2, 1, 0, 0.5, 1.5, -1, 3])
@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    F=st.integers(5, 60),
    T=st.integers(5, 90),
    K=st.integers(1, 5),
    n_iter=st.integers(1, 40),
)
def test_the_same_factors_from_the_same_start(beta, dtype, tolerance, seed, F, T, K, n_iter):
    V, W, H = draw(seed, F, T, K, dtype)
    mine = nmf(V, W, H, beta=beta, n_iter=n_iter, tol=0)
    for got, expected in zip(mine, theirs(V, W, H, beta, n_iter), strict=False):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * expected.max())


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), tol=st.sampled_from([1e-2, 1e-3]))
@pytest.mark.parametrize("beta", [2, 1, 0])
def test_they_stop_after_the_same_number_of_updates(beta, seed, tol):
    V, W, H = draw(seed, 20, 30, 3, np.float64)
    model = NMF(3, init="custom", solver="mu", beta_loss=beta, max_iter=500, tol=tol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit_transform(V, W=W.copy(), H=H.copy())
    result = nmf(V, W, H, beta=beta, n_iter=500, tol=tol)
    assert result.history[-1][0] == model.n_iter_
    expected = model.reconstruction_err_**2 / 2
    assert beta_divergence(V, result.W, result.H, beta) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), K=st.integers(1, 5), dtype=st.sampled_from(["f4", "f8"]))
@pytest.mark.parametrize(("init", "fill"), [("nndsvd", 0), ("nndsvda", None)])
def test_nndsvd(init, fill, seed, K, dtype):
    V = draw(seed, 20, 30, 5, dtype)[0]
    expected = _initialize_nmf(V.astype(np.float64), K, init=init, random_state=0)
    tolerance = 1e-3 if dtype == "f4" else 1e-6
    for got, other in zip(nndsvd_factors(V, K, fill=fill), expected, strict=True):
        np.testing.assert_allclose(got, other, atol=tolerance * other.max())
