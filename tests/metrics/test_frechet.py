"""The Frechet distance against closed forms, scipy's root and simulation; features by loops."""

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.metrics import (
    frechet_distance,
    gaussian_frechet_distance,
    log_mel_statistics,
)
from scratchaudio.metrics.frechet import symmetric_sqrt

SR = 16000


def random_covariance(rng, d, rank=None):
    A = rng.standard_normal((d, rank or d))
    return A @ A.T


def random_features(seed, n=60, d=5):
    """Correlated, not Gaussian, off centre, each axis of another size."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2, 1, (n, d)) @ rng.standard_normal((d, d)) * rng.uniform(0.2, 5, d)
    return x + rng.uniform(-9, 9, d)


def slow_distance(reference, estimate, shrinkage=0.0):
    """Sums written out, and scipy's square root of the product of the covariances."""
    means, covariances = [], []
    for x in (reference, estimate):
        n, d = x.shape
        m = [sum(x[i, j] for i in range(n)) / n for j in range(d)]
        C = np.zeros((d, d))
        for j in range(d):
            for k in range(d):
                C[j, k] = sum((x[i, j] - m[j]) * (x[i, k] - m[k]) for i in range(n)) / (n - 1)
                if j != k:
                    C[j, k] *= 1 - shrinkage
        means.append(np.array(m))
        covariances.append(C)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    shift = sum((a - b) ** 2 for a, b in zip(*means, strict=True))
    return shift + np.trace(covariances[0] + covariances[1] - 2 * root.real)


# The distance ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_the_distance_is_its_definition(shrinkage):
    x, y = random_features(0, n=40, d=4), random_features(1, n=23, d=4)
    expected = slow_distance(x, y, shrinkage)
    assert expected > 1
    assert frechet_distance(x, y, shrinkage=shrinkage) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_root_is_scipy_s(seed):
    C = random_covariance(np.random.default_rng(seed), 6)
    S = symmetric_sqrt(C)
    np.testing.assert_allclose(S, scipy.linalg.sqrtm(C).real, rtol=0, atol=1e-10 * abs(C).max())
    np.testing.assert_allclose(S @ S, C, rtol=0, atol=1e-12 * abs(C).max())
    np.testing.assert_allclose(S, S.T, rtol=0, atol=1e-13 * abs(C).max())
    assert np.linalg.eigvalsh(S)[0] > 0


@pytest.mark.parametrize("seed", range(5))
def test_two_gaussians_by_scipy_s_root(seed):
    rng = np.random.default_rng(seed)
    C, D = random_covariance(rng, 5), random_covariance(rng, 5)
    m, k = rng.standard_normal((2, 5))
    expected = np.square(m - k).sum() + np.trace(C + D - 2 * scipy.linalg.sqrtm(C @ D).real)
    assert gaussian_frechet_distance(m, C, k, D) == pytest.approx(expected, rel=1e-9)


def test_one_dimension_has_a_closed_form():
    assert gaussian_frechet_distance([2.0], [[9.0]], [-1.5], [[0.25]]) == pytest.approx(
        (2 + 1.5) ** 2 + (3 - 0.5) ** 2, rel=1e-13
    )


def test_two_dimensions_have_a_closed_form():
    """Root of a 2 x 2 matrix M with positive eigenvalues: tr = sqrt(tr M + 2 sqrt(det M))."""
    rng = np.random.default_rng(3)
    C, D = random_covariance(rng, 2), random_covariance(rng, 2)
    root = math.sqrt(np.trace(C @ D) + 2 * math.sqrt(np.linalg.det(C @ D)))
    expected = np.trace(C) + np.trace(D) - 2 * root
    assert gaussian_frechet_distance([0, 0], C, [0, 0], D) == pytest.approx(expected, rel=1e-10)


def test_covariances_with_the_same_axes_compare_deviations():
    rng = np.random.default_rng(4)
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    a, b = rng.uniform(0, 3, (2, 4))
    zero = np.zeros(4)
    distance = gaussian_frechet_distance(zero, Q * a**2 @ Q.T, zero, Q * b**2 @ Q.T)
    assert distance == pytest.approx(np.square(a - b).sum(), rel=1e-10)


def test_directions_in_which_nothing_varies_do_no_harm():
    """Points on a plane against points on another: the root of what is 0 must be 0, not 1e-8."""
    zero, rng = np.zeros(6), np.random.default_rng(5)
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    C, D = Q[:, :2] * [1e4, 1e2] @ Q[:, :2].T, Q[:, 3:5] * [3, 5] @ Q[:, 3:5].T
    assert gaussian_frechet_distance(zero, C, zero, D) == pytest.approx(1e4 + 1e2 + 8, rel=1e-12)
    assert gaussian_frechet_distance(zero, C, zero, C) <= 1e-10
    assert gaussian_frechet_distance(zero, 0 * C, zero, D) == pytest.approx(8, rel=1e-12)


# Laws --------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6))
def test_laws(seed):
    x, y = random_features(seed), random_features(seed + 1, n=31)
    before = x.copy(), y.copy()
    rng = np.random.default_rng(seed)
    scale = np.square(x).mean() + np.square(y).mean()
    distance = frechet_distance(x, y)
    shift = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    assert distance >= shift * (1 - 1e-12)
    assert 0 <= frechet_distance(x, x[::-1]) <= 1e-10 * scale
    assert frechet_distance(y, x) == pytest.approx(distance, rel=1e-9)
    v = rng.uniform(-3, 3, 5)
    assert frechet_distance(x + v, y + v) == pytest.approx(distance, rel=1e-8)
    assert frechet_distance(x, x + v) == pytest.approx(v @ v, rel=1e-8, abs=1e-10 * scale)
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert frechet_distance(x @ Q, y @ Q) == pytest.approx(distance, rel=1e-8)
    assert frechet_distance(-3 * x, -3 * y) == pytest.approx(9 * distance, rel=1e-9)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@given(seed=st.integers(0, 10**6))
def test_its_root_obeys_the_triangle_inequality(seed):
    x, y, z = (random_features(seed + i, n=20 + i) for i in range(3))
    xy, yz, xz = (math.sqrt(frechet_distance(*pair)) for pair in ((x, y), (y, z), (x, z)))
    assert xz <= (xy + yz) * (1 + 1e-9)


def test_few_sounds_of_one_source_seem_apart_by_the_bias_that_is_stated():
    """The mean's part is tr(C) (1 / n + 1 / n); the whole falls as 1 / n."""
    rng, d = np.random.default_rng(0), 6
    found = {}
    for n in (50, 400):
        pairs = [rng.standard_normal((2, n, d)) for _ in range(200)]
        shifts = [np.square(x.mean(axis=0) - y.mean(axis=0)).sum() for x, y in pairs]
        found[n] = np.mean([frechet_distance(x, y) for x, y in pairs])
        assert np.mean(shifts) == pytest.approx(2 * d / n, rel=0.2)
        assert found[n] > 1.3 * np.mean(shifts), "the covariances add to it"
    assert found[50] / found[400] == pytest.approx(8, rel=0.2)


def test_a_generator_that_always_makes_the_same_sound_is_found_out():
    x = random_features(7, n=200)
    mean_sound = x.mean(axis=0) + 1e-3 * np.random.default_rng(0).standard_normal(x.shape)
    expected = x.var(axis=0, ddof=1).sum()
    assert frechet_distance(x, mean_sound) == pytest.approx(expected, rel=0.01)


def test_full_shrinkage_compares_each_feature_alone():
    x, y = random_features(8), random_features(9)
    expected = sum(frechet_distance(x[:, [j]], y[:, [j]]) for j in range(5))
    assert frechet_distance(x, y, shrinkage=1) == pytest.approx(expected, rel=1e-10)
    few = frechet_distance(x[:4], y[:3], shrinkage=0.5)
    assert few >= 0 and math.isfinite(few)


def test_float32_and_whole_numbers_are_computed_in_float64():
    x, y = (random_features(seed).astype(np.float32) for seed in (0, 1))
    as_double = frechet_distance(x.astype(np.float64), y.astype(np.float64))
    assert frechet_distance(x, y) == as_double and type(as_double) is float
    counts = np.array([[0, 3], [2, 2], [5, 1], [4, 4]])
    assert frechet_distance(counts, counts + [1, 0]) == pytest.approx(1)


# Features ----------------------------------------------------------------------------------------


def test_features_are_means_and_deviations_of_levels():
    """Frame by frame, the DFT by its definition, the triangles by their corners."""
    n_fft, hop, n_mels, floor = 32, 8, 3, -50.0
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 45) * np.exp(-np.arange(45) / 6)
    padded = np.concatenate([np.zeros(n_fft // 2), x, np.zeros(n_fft // 2)])
    low, high = 0.0, 15 + 27 * math.log(8) / math.log(6.4)  # 0 and 8000 Hz in mel
    edges = []
    for i in range(n_mels + 2):
        m = low + (high - low) * i / (n_mels + 1)
        edges.append(m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27))
    levels = []
    for t in range(1 + len(x) // hop):
        power = []
        for k in range(n_fft // 2 + 1):
            X = 0
            for n in range(n_fft):
                w = 0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft)
                X += w * padded[t * hop + n] * np.exp(-2j * np.pi * k * n / n_fft)
            power.append(abs(X) ** 2 / (n_fft / 4) ** 2)
        row = []
        for a, b, c in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0
            for k, P in enumerate(power):
                f = k * SR / n_fft
                total += max(0, min((f - a) / (b - a), (c - f) / (c - b))) * P
            row.append(max(10 * math.log10(max(total, 1e-30)), floor))
        levels.append(row)
    columns = list(zip(*levels, strict=True))
    means = [sum(c) / len(c) for c in columns]
    deviations = [
        math.sqrt(sum((v - m) ** 2 for v in c) / len(c))
        for c, m in zip(columns, means, strict=True)
    ]
    settings = {"n_mels": n_mels, "n_fft": n_fft, "hop_length": hop, "floor_db": floor}
    got = log_mel_statistics(x, SR, **settings)
    assert max(max(c) for c in columns) > floor + 20 and min(min(c) for c in columns) == floor
    np.testing.assert_allclose(got, means + deviations, rtol=1e-9, atol=1e-9)


def test_a_full_scale_sine_has_0_db_and_silence_the_floor():
    t = np.arange(16384) / SR
    sine = np.sin(2 * np.pi * 1000 * t)  # bin 32 of 512
    L = log_mel_statistics(sine, SR, n_mels=20)
    loudest = L[:20].max()
    assert -4 < loudest < 2, "a triangle takes what the window spreads over three bins"
    quieter = log_mel_statistics(0.1 * sine, SR, n_mels=20)[:20].max()
    assert loudest - quieter == pytest.approx(20, abs=0.2)
    silence = log_mel_statistics(np.zeros(4000), SR)
    np.testing.assert_array_equal(silence, [-60.0] * 20 + [0.0] * 20)
    rounding = 1e-9 * np.random.default_rng(0).standard_normal(4000)
    np.testing.assert_array_equal(log_mel_statistics(rounding, SR), silence)


def test_features_of_a_batch_are_those_of_each():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 1500)).astype(np.float32)
    L = log_mel_statistics(x, SR, n_mels=7)
    assert L.shape == (2, 3, 14) and L.dtype == np.float64
    np.testing.assert_array_equal(L[1, 2], log_mel_statistics(x[1, 2], SR, n_mels=7))


def test_the_distance_of_noises_grows_with_their_difference_in_level():
    rng = np.random.default_rng(0)
    sounds = {g: g * rng.uniform(-1, 1, (60, 2048)) for g in (1.0, 0.8, 0.4)}
    features = {g: log_mel_statistics(x, SR, n_mels=6) for g, x in sounds.items()}
    again = log_mel_statistics(rng.uniform(-1, 1, (60, 2048)), SR, n_mels=6)
    same, near, far = (frechet_distance(again, features[g]) for g in (1.0, 0.8, 0.4))
    assert same < near / 5 and near < far / 5


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"reference": np.ones(60)}, ShapeError, r"reference must have shape \(n, d\).*\(60,\)"),
        ({"estimate": np.ones((1, 5))}, ShapeError, r"estimate .* at least 2 sounds, got \(1, 5\)"),
        ({"estimate": np.ones((9, 0))}, ShapeError, r"estimate must have shape \(n, d\)"),
        ({"estimate": np.ones((60, 4))}, ShapeError, "equally many features, got 5 and 4"),
        ({"reference": np.full((60, 5), np.nan)}, ShapeError, "reference must be finite"),
        ({"estimate": random_features(1)[:5]}, ShapeError, "estimate has 5 sounds, too few.* of 5"),
        ({"shrinkage": -0.1}, ConfigError, "shrinkage must be from 0 to 1, got -0.1"),
        ({"shrinkage": 1.1}, ConfigError, "shrinkage"),
        ({"shrinkage": math.nan}, ConfigError, "shrinkage"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, says):
    arguments = {"reference": random_features(0), "estimate": random_features(1)} | arguments
    with pytest.raises(error, match=says):
        frechet_distance(**arguments)


def test_one_sound_more_than_features_is_enough():
    assert frechet_distance(random_features(0), random_features(1)[:6]) > 0


@pytest.mark.parametrize(
    ("covariance", "says"),
    [
        (np.ones((2, 3)), r"shape \(d, d\), got shape \(2, 3\)"),
        (np.ones(4), r"got shape \(4,\)"),
        (np.zeros((0, 0)), r"got shape \(0, 0\)"),
        (np.full((2, 2), np.inf), "finite"),
        (np.array([[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalues, but the least is -1"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, says):
    with pytest.raises(ShapeError, match=says):
        symmetric_sqrt(covariance)


def test_means_must_fit_covariances():
    with pytest.raises(ShapeError, match=r"got \(3,\), \(2, 2\), \(2,\), \(2, 2\)"):
        gaussian_frechet_distance(np.zeros(3), np.eye(2), np.zeros(2), np.eye(2))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"x": np.ones(9, int)}, ShapeError, "x must hold floating-point"),
        ({"x": np.full(900, np.nan)}, ShapeError, "x must be finite"),
        ({"floor_db": 0.0}, ConfigError, "floor_db must be finite and below 0 dB, got 0.0"),
        ({"floor_db": -math.inf}, ConfigError, "floor_db"),
        ({"floor_db": math.nan}, ConfigError, "floor_db"),
        ({"n_mels": 0}, ConfigError, "n_mels"),
        ({"n_fft": 0}, ConfigError, "n_fft"),
        ({"hop_length": 0}, ConfigError, "hop_length"),
    ],
)
def test_wrong_settings_of_features_are_named(settings, error, says):
    settings = {"x": np.ones(900), "sr": SR} | settings
    with pytest.raises(error, match=says):
        log_mel_statistics(**settings)
