"""Frechet distance: how far one collection of sounds is from another.

A generator has no target. Its sounds need not equal any real one, so no distance between two
sounds can judge it. What can be asked is whether *all* its sounds, as a cloud of points, lie where
the real ones lie and are spread as they are. So each sound becomes a vector of features, to each
cloud a Gaussian is fitted (mean m, covariance C), and the distance between two Gaussians has a
closed form:

    d^2 = |m_r - m_e|^2  +  tr( C_r + C_e - 2 (C_r C_e)^(1/2) )

It is the least mean square way that the points of one must be moved to become the other (the
Wasserstein distance of order 2; Frechet's for short). In one dimension,

    d^2 = (m_r - m_e)^2 + (sigma_r - sigma_e)^2

The mean tells bad sounds from good ones; the covariance tells of a generator that always makes the
same good sound. Copies of the real sounds have distance 0: look at nearest neighbours too.

The square root. C_r C_e is not symmetric, but with S = C^(1/2), the symmetric root,

    tr (C_r C_e)^(1/2) = tr (S_r C_e S_r)^(1/2) = sum of the singular values of S_r S_e

as (S_r S_e)(S_r S_e)^T = S_r C_e S_r. A symmetric root is one eigendecomposition:

    C = Q diag(lambda) Q^T     S = Q diag(sqrt(lambda)) Q^T

Rounding makes zero eigenvalues +-1e-16, of which the root would be 1e-8: what is below rounding is
set to 0. Nothing is inverted, so singular covariances do no harm here.

What does harm is too few sounds. A covariance measured from n sounds is noisy, and noise makes
clouds differ: two collections from the *same* source are expected at

    d^2 = tr(C) (1 / n_r + 1 / n_e)  +  what the covariances add, about as d / n again

not at 0. With n no larger than the number of dimensions d, the covariance says that some directions
never vary, which is untrue. Three honest ways out: features that are few (`log_mel_statistics`
gives 40); always to print beside it the distance between two collections of real sounds, as many of
them; and `shrinkage`, which moves the covariances towards their diagonals

    C <- (1 - s) C + s diag(C)

With s = 1 each feature is compared alone, and correlations are not seen. It is never applied
unasked, and distances with different features, n or s do not compare.

Legend: n sounds, d features, m (d,), C (d, d), S (d, d), Q (d, d); M mel bands, T frames.

References
----------
Dowson & Landau (1982), The Frechet distance between multivariate normal distributions, Journal of
Multivariate Analysis 12(3), eq. 4; for images: Heusel et al. (2017), GANs trained by a two
time-scale update rule, NeurIPS, eq. 6; for audio: Kilgour et al. (2019), Frechet audio distance,
Interspeech, eq. 1 (both with features of a trained network; ours need none). Shrinkage: Schafer &
Strimmer (2005), Statistical Applications in Genetics and Molecular Biology 4(1), table 2, target D.
"""

import numpy as np

from scratchaudio.dsp.mel import mel_filterbank
from scratchaudio.dsp.stft import stft
from scratchaudio.errors import ConfigError, ShapeError, require_signal


def frechet_distance(reference, estimate, *, shrinkage=0.0):
    """Squared Frechet distance between Gaussians fitted to two collections of feature vectors.

        d^2 = |m_r - m_e|^2 + tr( C_r + C_e - 2 (C_r C_e)^(1/2) )

    Parameters
    ----------
    reference : (n_r, d) features of real sounds
    estimate : (n_e, d) features of made ones
    shrinkage : from 0 to 1, by how much covariances move to their diagonals; needed when n <= d

    Returns
    -------
    float >= 0, in the square of the features' unit: 0 for equal collections, symmetric, the same
    after any rotation or shift of both

    Raises
    ------
    ShapeError : not two arrays (n, d) of finite numbers, or n <= d without shrinkage

    References
    ----------
    Dowson & Landau (1982), Journal of Multivariate Analysis 12(3), eq. 4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((1000, 2))
    >>> round(frechet_distance(x, x + [3, 4]), 6)
    25.0

    Twice as far spread: (2 - 1)^2 of each dimension's variance.

    >>> x -= x.mean(axis=0)
    >>> round(frechet_distance(x, 2 * x) / float(x.var(axis=0, ddof=1).sum()), 6)
    1.0
    """
    if not 0 <= shrinkage <= 1:
        raise ConfigError(f"shrinkage must be from 0 to 1, got {shrinkage!r}")
    reference = _features("reference", reference, shrinkage)
    estimate = _features("estimate", estimate, shrinkage)
    if reference.shape[1] != estimate.shape[1]:
        raise ShapeError(
            f"reference and estimate must have equally many features, got {reference.shape[1]} "
            f"and {estimate.shape[1]}"
        )
    return gaussian_frechet_distance(
        reference.mean(axis=0),
        _covariance(reference, shrinkage),
        estimate.mean(axis=0),
        _covariance(estimate, shrinkage),
    )


def gaussian_frechet_distance(mean_r, cov_r, mean_e, cov_e):
    """Squared Frechet distance between two Gaussians, given by means (d,) and covariances (d, d).

    Examples
    --------
    Two normal distributions on a line: (0 - 3)^2 + (2 - 1)^2.

    >>> gaussian_frechet_distance([0.0], [[4.0]], [3.0], [[1.0]])
    10.0
    """
    mean_r, mean_e = (np.asarray(m, dtype=np.float64) for m in (mean_r, mean_e))
    S_r, S_e = symmetric_sqrt(cov_r), symmetric_sqrt(cov_e)  # (d, d)
    if not mean_r.shape == mean_e.shape == S_r.shape[:1] == S_e.shape[:1]:
        raise ShapeError(
            f"means must have shape (d,) and covariances (d, d) of one d, got {mean_r.shape}, "
            f"{S_r.shape}, {mean_e.shape}, {S_e.shape}"
        )
    shift = mean_r - mean_e
    overlap = np.linalg.svd(S_r @ S_e, compute_uv=False).sum()  # tr (C_r C_e)^(1/2)
    spread = np.square(S_r).sum() + np.square(S_e).sum() - 2 * overlap  # tr C = |S|^2
    return float(shift @ shift + max(spread, 0.0))  # rounding can make it -1e-16


def symmetric_sqrt(C):
    """The symmetric square root S of a covariance, S S = C, by its eigenvectors.

    Parameters
    ----------
    C : (d, d) symmetric, without negative eigenvalues

    Returns
    -------
    (d, d) float64, symmetric, without negative eigenvalues

    Examples
    --------
    >>> symmetric_sqrt(np.array([[5.0, 4.0], [4.0, 5.0]])).round(6)
    array([[2., 1.],
           [1., 2.]])
    """
    C = np.asarray(C, dtype=np.float64)
    if C.ndim != 2 or C.shape[0] != C.shape[1] or C.size == 0 or not np.isfinite(C).all():
        raise ShapeError(f"a covariance must be finite, of shape (d, d), got shape {C.shape}")
    scale = np.abs(C).max()
    if np.abs(C - C.T).max() > 1e-8 * scale:
        raise ShapeError("a covariance must be symmetric, but C and its transpose differ")
    eigenvalues, Q = np.linalg.eigh((C + C.T) / 2)
    rounding = len(C) * np.finfo(np.float64).eps * scale
    if eigenvalues[0] < -max(1e-8 * scale, rounding):
        raise ShapeError(
            f"a covariance cannot have negative eigenvalues, but the least is {eigenvalues[0]:.4g}"
        )
    eigenvalues[eigenvalues < rounding] = 0
    return (Q * np.sqrt(eigenvalues)) @ Q.T


def log_mel_statistics(x, sr, *, n_mels=20, n_fft=512, hop_length=128, floor_db=-60.0):
    """Features of sounds for `frechet_distance`: how loud each mel band is, and how much it moves.

    L[m, t] is the level of band m at frame t, in dB below a sine of full scale, and no lower than
    the floor, so that silence counts alike whatever its rounding noise. The features are

        mean of L[m] over t,  standard deviation of L[m] over t           for each band m

    The order of the frames does not enter: a sound played backwards has nearly the same features.

    Parameters
    ----------
    x : (..., N) sounds, full scale 1
    sr : sample rate, Hz
    n_mels : M bands from 0 to sr / 2
    n_fft, hop_length : of the STFT, samples
    floor_db : the lowest level that counts, dB

    Returns
    -------
    (..., 2 M) float64, dB

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> log_mel_statistics(rng.uniform(-1, 1, (5, 8192)), 16000).shape
    (5, 40)
    """
    x = require_signal("x", x)
    if not -np.inf < floor_db < 0:
        raise ConfigError(f"floor_db must be finite and below 0 dB, got {floor_db!r}")
    filters = mel_filterbank(sr=sr, n_fft=n_fft, n_mels=n_mels, norm=None, dtype=np.float64)
    X = stft(x.astype(np.float64), n_fft=n_fft, hop_length=hop_length)  # (..., F, T)
    # A sine of amplitude 1 in the middle of a bin has |X| = sum(w) / 2, n_fft / 4 for Hann.
    power = (X.real**2 + X.imag**2) / (n_fft / 4) ** 2
    L = 10 * np.log10(np.maximum(filters @ power, 10 ** (floor_db / 10)))  # (..., M, T)
    return np.concatenate([L.mean(axis=-1), L.std(axis=-1)], axis=-1)


def _covariance(x, shrinkage):
    """(n, d) -> (d, d), with n - 1 in the denominator, moved towards its diagonal."""
    centred = x - x.mean(axis=0)
    C = centred.T @ centred / (len(x) - 1)
    return (1 - shrinkage) * C + shrinkage * np.diag(np.diag(C))


def _features(name, x, shrinkage):
    """Return x as float64 (n, d); raise `ShapeError` unless a covariance can be measured."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0 or len(x) < 2:
        raise ShapeError(f"{name} must have shape (n, d) with at least 2 sounds, got {x.shape}")
    if not np.isfinite(x).all():
        raise ShapeError(f"{name} must be finite, but it holds NaN or infinity")
    n, d = x.shape
    if n <= d and shrinkage == 0:
        raise ShapeError(
            f"{name} has {n} sounds, too few for a covariance of {d} features, which needs more "
            f"than {d}: take more sounds or fewer features, or pass shrinkage above 0"
        )
    return x
