"""Multiplicative updates against literal loops and scikit-learn's numbers, and their laws."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from golden.make_sklearn_nmf import BETAS, N_ITER, draw
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, nnls

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.factorization import (
    beta_divergence,
    exponent,
    nmf,
    random_factors,
    update_activations,
    update_spectra,
)

nmf_module = importlib.import_module("scratchaudio.factorization.nmf")
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "sklearn_nmf.json").read_text(encoding="utf-8")
)
seeds = st.integers(0, 2**32 - 1)
betas = st.one_of(st.sampled_from(BETAS), st.floats(-1, 3))
sizes = st.permutations([2, 3, 5, 7, 9]).map(lambda p: tuple(p[:3]))  # F, T, K


def drawn(sizes, seed, low=0.05):
    """V, W, H of the sizes F, T, K, between low and low + 1."""
    F, T, K = sizes
    rng = np.random.default_rng(seed)
    return tuple(low + rng.random(shape) for shape in ((F, T), (F, K), (K, T)))


# What the formulas say, entry by entry -----------------------------------------------------------


def d(x, y, beta):
    """The beta-divergence of two numbers."""
    if beta == 1:
        return (x * math.log(x / y) if x > 0 else 0) - x + y
    if beta == 0:
        return x / y - math.log(x / y) - 1
    return (x**beta + (beta - 1) * y**beta - beta * x * y ** (beta - 1)) / (beta * (beta - 1))


def gamma_by_hand(beta):
    return 1 / (2 - beta) if beta < 1 else 1 / (beta - 1) if beta > 2 else 1


def updated_by_loops(V, W, H, beta, sparsity=0.0):
    """One update of H; that of W is the same with everything transposed."""
    (F, T), K = V.shape, W.shape[1]
    new = np.empty_like(H)
    for k in range(K):
        for t in range(T):
            less = more = 0.0
            for f in range(F):
                y = sum(W[f, j] * H[j, t] for j in range(K))
                less += W[f, k] * V[f, t] * y ** (beta - 2)
                more += W[f, k] * y ** (beta - 1)
            new[k, t] = H[k, t] * (less / (more + sparsity)) ** gamma_by_hand(beta)
    return new


@given(sizes=sizes, seed=seeds, beta=betas, sparsity=st.sampled_from([0.0, 0.3]))
@settings(max_examples=30)
def test_an_update_of_h_by_loops(sizes, seed, beta, sparsity):
    V, W, H = drawn(sizes, seed)
    expected = updated_by_loops(V, W, H, beta, sparsity)
    np.testing.assert_allclose(update_activations(V, W, H, beta, sparsity), expected, rtol=1e-10)


@given(sizes=sizes, seed=seeds, beta=betas)
@settings(max_examples=30)
def test_an_update_of_w_by_loops(sizes, seed, beta):
    V, W, H = drawn(sizes, seed)
    expected = updated_by_loops(V.T, H.T, W.T, beta).T
    np.testing.assert_allclose(update_spectra(V, W, H, beta), expected, rtol=1e-10)


@given(sizes=sizes, seed=seeds, beta=betas)
def test_the_divergence_by_loops(sizes, seed, beta):
    V, W, H = drawn(sizes, seed)
    Y = W @ H
    expected = sum(d(x, y, beta) for x, y in zip(V.ravel(), Y.ravel(), strict=True))
    if min(abs(beta), abs(beta - 1)) < 1e-3 and beta not in (0, 1):
        return  # the formula itself loses its digits beside its limits
    assert beta_divergence(V, W, H, beta) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_scikit_learn_after_20_updates(beta):
    case = GOLDEN[f"beta {beta}"]
    W, H, history = nmf(*draw(), beta=beta, n_iter=N_ITER, tol=0)
    np.testing.assert_allclose(W, case["W"], rtol=1e-8)
    np.testing.assert_allclose(H, case["H"], rtol=1e-8)
    assert history[-1][0] == N_ITER
    assert history[-1][1] == pytest.approx(case["divergence"], rel=1e-8)


# Laws --------------------------------------------------------------------------------------------


@given(sizes=sizes, seed=seeds, beta=betas, sparsity=st.sampled_from([0.0, 0.0, 0.2, 2.0]))
@settings(max_examples=60)
def test_the_divergence_never_rises(sizes, seed, beta, sparsity):
    V, W, H = drawn(sizes, seed)
    history = nmf(V, W, H, beta=beta, sparsity=sparsity, n_iter=25, tol=0, every=1).history
    D = np.array([value for _, value in history])
    assert len(D) == 26
    rise = np.diff(D) / max(abs(D[0]), 1e-9)
    assert rise.max() <= 1e-9, f"update {rise.argmax() + 1} raises it from {D[rise.argmax()]}"
    assert D[-1] < D[0]


@pytest.mark.parametrize("beta", BETAS)
def test_each_half_of_an_update_lowers_the_divergence(beta):
    """W and then H: with both from the old values, as some programs do, D may jump."""
    V, W, H = drawn((5, 9, 3), 1)
    before = beta_divergence(V, W, H, beta)
    W = update_spectra(V, W, H, beta)
    between = beta_divergence(V, W, H, beta)
    after = beta_divergence(V, W, update_activations(V, W, H, beta), beta)
    assert after < between < before
    start = drawn((5, 9, 3), 1)[1:]
    once = nmf(V, *start, beta=beta, n_iter=1, tol=0)
    np.testing.assert_allclose(once.W, W, rtol=1e-12)
    np.testing.assert_allclose(once.H, update_activations(V, W, start[1], beta), rtol=1e-12)


@given(sizes=sizes, seed=seeds, beta=betas)
def test_an_exact_factorisation_stays(sizes, seed, beta):
    _, W, H = drawn(sizes, seed)
    V = W @ H
    result = nmf(V, W, H, beta=beta, n_iter=5, tol=0)
    np.testing.assert_allclose(result.W @ result.H, V, rtol=1e-9)
    assert abs(beta_divergence(V, W, H, beta)) <= 1e-9


@given(sizes=sizes, seed=seeds, beta=st.sampled_from(BETAS), factor=st.sampled_from([1e-3, 50.0]))
def test_scaling_v_scales_the_product_and_the_divergence(sizes, seed, beta, factor):
    V, W, H = drawn(sizes, seed)
    one = nmf(V, W, H, beta=beta, n_iter=7, tol=0)
    other = nmf(factor * V, W, factor * H, beta=beta, n_iter=7, tol=0)
    np.testing.assert_allclose(other.W @ other.H, factor * (one.W @ one.H), rtol=1e-8)
    assert other.history[-1][1] == pytest.approx(factor**beta * one.history[-1][1], rel=1e-6)


@given(sizes=sizes, seed=seeds, beta=st.sampled_from(BETAS))
def test_order_and_scale_of_the_components_do_not_matter(sizes, seed, beta):
    V, W, H = drawn(sizes, seed)
    rng = np.random.default_rng(seed)
    order, scale = rng.permutation(sizes[2]), rng.uniform(0.1, 10, sizes[2])
    one = nmf(V, W, H, beta=beta, n_iter=7, tol=0)
    other = nmf(V, (W * scale)[:, order], (H / scale[:, None])[order], beta=beta, n_iter=7, tol=0)
    np.testing.assert_allclose(other.W @ other.H, one.W @ one.H, rtol=1e-8)
    np.testing.assert_allclose(
        other.W[:, 0] * other.H[0, 0], one.W[:, order[0]] * one.H[order[0], 0], rtol=1e-8
    )


@given(sizes=sizes, seed=seeds, beta=st.sampled_from(BETAS) | st.floats(-1, 3))
def test_what_is_0_stays_0_and_nothing_becomes_nan(sizes, seed, beta):
    V, W, H = drawn(sizes, seed)
    rng = np.random.default_rng(seed)
    W, H = W * (rng.random(W.shape) < 0.6), H * (rng.random(H.shape) < 0.6)
    if beta >= 1e-6:  # nearer to 0 it counts as 0, which V must not hold
        V = V * (rng.random(V.shape) < 0.7)
    result = nmf(V, W, H, beta=beta, n_iter=30, tol=0)
    for start, end in ((W, result.W), (H, result.H)):
        assert np.isfinite(end).all()
        assert (end[start == 0] == 0).all()
        assert (end >= 0).all()


@pytest.mark.parametrize("beta", [0.5, 1, 2, 3])
def test_silence_gives_silence(beta):
    V, W, H = drawn((5, 9, 3), 0)
    result = nmf(0 * V, W, H, beta=beta, n_iter=5, tol=1e-4)
    assert np.isfinite(result.W).all() and np.isfinite(result.H).all()
    np.testing.assert_allclose(result.W @ result.H, 0, atol=1e-12)


@given(sizes=sizes, seed=seeds, beta=st.sampled_from(BETAS), share=st.floats(0, 1))
def test_fixed_columns_do_not_move(sizes, seed, beta, share):
    V, W, H = drawn(sizes, seed)
    n_fixed = round(share * W.shape[1])
    result = nmf(V, W, H, beta=beta, n_fixed=n_fixed, n_iter=4, tol=0)
    np.testing.assert_array_equal(result.W[:, :n_fixed], W[:, :n_fixed])
    assert (result.W[:, n_fixed:] != W[:, n_fixed:]).any(axis=0).all(), "a free column stands still"
    assert (result.H != H).any()


def test_activations_of_a_fixed_dictionary_are_the_least_squares():
    """With W fixed the Euclidean problem is convex: the solution is that of NNLS, column by column.

    The first column of V asks for an activation of 0, which updates come near to and never reach.
    """
    rng = np.random.default_rng(2)
    W = rng.random((9, 3))
    V = np.column_stack([W @ [1.0, 0.0, 2.0], rng.random(9), rng.random(9)])
    H = nmf(V, W, np.ones((3, 3)), beta=2, n_fixed=3, n_iter=5000, tol=0).H
    for t in range(3):
        np.testing.assert_allclose(H[:, t], nnls(W, V[:, t])[0], atol=1e-2)


@pytest.mark.parametrize("beta", [0, 1, 2])
def test_notes_that_are_sometimes_alone_are_found(beta):
    """Three spectra, each of which has a bin and a frame for itself, up to order and scale."""
    rng = np.random.default_rng(4)
    truth = rng.random((20, 3)) + 0.02
    truth[:3] = np.eye(3) + 1e-6
    when = (rng.random((3, 60)) < 0.4) * rng.random((3, 60)) + 1e-6
    V = truth @ when
    W, _, history = nmf(V, *random_factors(V, 3, rng=1), beta=beta, n_iter=1000, tol=0)
    assert history[-1][1] < 1e-3 * history[0][1]
    unit = [A / np.linalg.norm(A, axis=0) for A in (W, truth)]
    alike = unit[0].T @ unit[1]  # (3, 3) cosines
    rows, columns = linear_sum_assignment(-alike)
    assert alike[rows, columns].min() > 0.98, alike.round(3)


# Sparsity ----------------------------------------------------------------------------------------


@given(sizes=sizes, seed=seeds, beta=st.sampled_from(BETAS))
def test_with_sparsity_the_columns_keep_length_1(sizes, seed, beta):
    V, W, H = drawn(sizes, seed)
    result = nmf(V, 7 * W, H, beta=beta, sparsity=0.1, n_iter=6, tol=0)
    np.testing.assert_allclose(np.linalg.norm(result.W, axis=0), 1, rtol=1e-12)
    objective = beta_divergence(V, result.W, result.H, beta) + 0.1 * result.H.sum()
    assert result.history[-1][1] == pytest.approx(objective, rel=1e-9)


def test_normalized_updates_by_loops():
    """The update of Le Roux et al., eq. 10, entry by entry, for the Kullback-Leibler divergence."""
    V, W, H = drawn((5, 7, 3), 3)
    W = W / np.linalg.norm(W, axis=0)
    F, K = W.shape
    Y = W @ H
    new = np.empty_like(W)
    for k in range(K):
        less = [sum(V[f, t] / Y[f, t] * H[k, t] for t in range(7)) for f in range(F)]
        more = [sum(H[k, t] for t in range(7)) for f in range(F)]
        for f in range(F):
            up = less[f] + W[f, k] * sum(W[g, k] * more[g] for g in range(F))
            down = more[f] + W[f, k] * sum(W[g, k] * less[g] for g in range(F))
            new[f, k] = W[f, k] * up / down
    new /= np.linalg.norm(new, axis=0)
    np.testing.assert_allclose(update_spectra(V, W, H, 1, normalized=True), new, rtol=1e-12)


def test_more_sparsity_switches_on_fewer_spectra():
    V, W, H = drawn((12, 40, 6), 6)

    def activity(sparsity):
        H_end = nmf(V, W, H, sparsity=sparsity, n_iter=200, tol=0).H
        return (H_end > 0.01 * H_end.max()).mean()

    shares = [activity(s) for s in (0, 0.5, 2)]
    assert shares[0] > shares[1] > shares[2], shares


# How it is computed ------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", BETAS)
def test_blocks_of_any_size_give_the_same(beta, monkeypatch):
    V, W, H = drawn((9, 7, 5), 8)
    results = []
    for block in (1, 20, 2**16):
        monkeypatch.setattr(nmf_module, "BLOCK", block)
        results.append(nmf(V, W, H, beta=beta, n_iter=5, tol=0))
    for other in results[1:]:
        np.testing.assert_allclose(other.W, results[0].W, rtol=1e-12)
        np.testing.assert_allclose(other.H, results[0].H, rtol=1e-12)
        assert other.history[-1][1] == pytest.approx(results[0].history[-1][1], rel=1e-12)


@pytest.mark.parametrize("beta", [-1, 0, 1, 1.5, 2])
def test_float32_stays_and_the_start_is_not_changed(beta):
    arrays = [A.astype(np.float32) for A in drawn((5, 9, 3), 0)]
    copies = [A.copy() for A in arrays]
    result = nmf(*arrays, beta=beta, n_iter=20, sparsity=0.1)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
        array.flags.writeable = False
    assert result.W.dtype == result.H.dtype == np.float32
    exact = nmf(*(A.astype(float) for A in arrays), beta=beta, n_iter=20, sparsity=0.1)
    np.testing.assert_allclose(result.W @ result.H, exact.W @ exact.H, rtol=1e-3)
    np.testing.assert_array_equal(nmf(*arrays, beta=beta, n_iter=20, sparsity=0.1).W, result.W)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
@pytest.mark.parametrize("beta", [0, 1, 2])
def test_very_soft_and_very_loud_float32(beta, scale):
    V, W, H = (A.astype(np.float32) for A in drawn((5, 9, 3), 0))
    loud = nmf(np.float32(scale) * V, W, np.float32(scale) * H, beta=beta, n_iter=10, tol=0)
    plain = nmf(V, W, H, beta=beta, n_iter=10, tol=0)
    np.testing.assert_allclose((loud.W @ loud.H) / scale, plain.W @ plain.H, rtol=1e-3)


def test_it_stops_when_little_changes_and_says_how_far_it_is():
    V, W, H = drawn((9, 7, 3), 2)
    told = []
    progress = lambda done, D: told.append((done, D))  # noqa: E731
    result = nmf(V, W, H, n_iter=1000, tol=1e-3, every=10, progress=progress)
    assert told == result.history[1:]
    done = [n for n, _ in result.history]
    assert done == list(range(0, done[-1] + 1, 10)) and 10 < done[-1] < 1000
    steps = [math.sqrt(2 * value) for _, value in result.history]
    fallen = -np.diff(steps) / steps[0]
    assert fallen[-1] < 1e-3 and (fallen[:-1] >= 1e-3).all()
    assert nmf(V, W, H, n_iter=25, tol=0).history[-1][0] == 25


def test_the_exponents():
    assert [exponent(beta) for beta in (-1, 0, 1, 1.5, 2, 3)] == [1 / 3, 1 / 2, 1, 1, 1, 1 / 2]


# What it refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"V": -np.ones((5, 9))}, "V must hold finite numbers that are not negative, got -1"),
        ({"V": np.full((5, 9), np.nan)}, "V must hold finite .* got NaN or infinity"),
        ({"W": np.full((5, 3), np.inf)}, "W must hold finite .* got NaN or infinity"),
        ({"H": -np.ones((3, 9))}, "H must hold finite .* got -1"),
        ({"V": np.ones((5, 9), complex)}, "V must hold real floats, got dtype complex128"),
        ({"V": np.ones((5, 9), int)}, "V must hold real floats, got dtype int64"),
        ({"V": np.ones(5)}, r"V must be a matrix that is not empty, got \(5,\)"),
        ({"V": np.ones((0, 9))}, r"V must be a matrix that is not empty, got \(0, 9\)"),
        ({"V": np.ones((9, 5))}, r"must fit each other, got V \(9, 5\), W \(5, 3\), H \(3, 9\)"),
        ({"H": np.ones((4, 9))}, r"must fit each other, .* H \(4, 9\)"),
    ],
)
def test_factors_that_do_not_fit(change, message):
    arrays = dict(zip("VWH", drawn((5, 9, 3), 0), strict=True)) | change
    with pytest.raises(ShapeError, match=message):
        nmf(**arrays)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": math.nan}, "beta must be a finite number, got nan"),
        ({"n_fixed": 4}, "n_fixed must be from 0 to the 3 columns of W, got 4"),
        ({"n_fixed": -1}, "n_fixed must be from 0"),
        ({"sparsity": -1}, "sparsity must be a finite number of at least 0, got -1"),
        ({"tol": -1e-3}, "tol must be a finite number of at least 0"),
        ({"n_iter": 0}, "n_iter must be"),
        ({"every": 0}, "every must be"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        nmf(*drawn((5, 9, 3), 0), **settings)


@pytest.mark.parametrize("beta", [0, -1])
def test_zeros_and_itakura_saito_do_not_go_together(beta):
    V, W, H = drawn((5, 9, 3), 0)
    V[2, 4] = V[0, 0] = 0
    with pytest.raises(ShapeError, match="positive for beta <= 0.* 2 of its 45 entries are 0"):
        nmf(V, W, H, beta=beta)
