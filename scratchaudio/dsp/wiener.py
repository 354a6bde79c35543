"""Multichannel Wiener filter: sources told apart by their spectra and by where they stand.

A network, or NMF, says how loudly each source sounds in each time and frequency. A mask uses that
for every channel alone. But the channels know more: a voice in the middle is alike in both, and a
guitar at the left is not. Model each source as Gaussian, with a power v that changes over time and
frequency and a *spatial covariance* R of each frequency that does not change over time,

    y_j(t, f)  ~  N(0, v_j(t, f) R_j(f))             R_j (C, C): how its channels hang together
    x = sum_j y_j  ~  N(0, sum_j v_j R_j)

then the best estimate of a source, given the mixture, is a matrix for every time and frequency:

    y_j = v_j R_j (sum_k v_k R_k)^-1 x

v and R must be known for that. Expectation-maximisation goes round: from the y that we have

    v_j(t, f) = mean over channels of |y_j|^2
    R_j(f)    = sum_t y_j y_j^H / sum_t v_j

and from these new y. They sum to the mixture, and whatever is twice in the estimates, leakage
above all, is shared out. With one channel R = 1 and y_j = v_j / sum v x, a mask.

Legend: S sources, C channels, F bins, T frames; X mixture, Y sources.

References: Duong, Vincent & Gribonval (2010), Under-determined reverberant audio source separation
using a full-rank spatial covariance model, IEEE TASLP 18(7); Nugraha, Liutkus & Vincent (2016),
Multichannel audio source separation with deep neural networks, IEEE/ACM TASLP 24(9), algorithm 1;
eps and the scaling are those of Open-Unmix's `filtering.py`.
"""

import numpy as np

from scratchaudio.errors import ShapeError, require_positive_integer

EPS = 1e-10  # of power; its square root is added to the mixture's covariance
PEAK = 10.0  # magnitudes beyond are scaled down, so that EPS has one meaning


def multichannel_wiener(X, Y, n_iter=1):
    """Refine estimates of all sources of a mixture by expectation-maximisation.

    Parameters
    ----------
    X : (C, F, T) complex STFT of the mixture, C of 1 or 2
    Y : (S, C, F, T) complex estimates of at least two sources, all that sounds; for instance each
        magnitude with the mixture's phase, and the rest of the mixture
    n_iter : rounds

    Returns
    -------
    (S, C, F, T) complex, in the dtype of Y. They sum to X but for sqrt(EPS) A^-1 x, where A is the
    covariance of the mixture: what is much softer than sqrt(EPS), 70 dB below PEAK^2, fades away
    """
    X, Y = np.asarray(X), np.asarray(Y)
    require_positive_integer("n_iter", n_iter)
    if X.ndim != 3 or len(X) not in (1, 2) or X.size == 0 or not np.iscomplexobj(X):
        raise ShapeError(
            f"X must be a complex STFT of one or two channels, (C, F, T), got {X.dtype} of shape "
            f"{X.shape}"
        )
    if Y.shape[1:] != X.shape or Y.ndim != 4 or len(Y) < 2 or not np.iscomplexobj(Y):
        raise ShapeError(
            f"Y must be complex estimates of at least two sources, (S, *{X.shape}), got {Y.dtype} "
            f"of shape {Y.shape}; with one source, add what is left of the mixture"
        )
    for name, array in (("X", X), ("Y", Y)):
        if not np.isfinite(array).all():
            raise ShapeError(f"{name} must hold finite numbers")
    x, y = (array.astype(np.complex128) for array in (X, Y))  # a determinant cancels
    scale = max(1.0, float(np.abs(x).max()) / PEAK)
    x, y = x / scale, y / scale
    for _ in range(n_iter):
        v, R = maximization(y)
        y = expectation(x, v, R)
    return (y * scale).astype(Y.dtype)


def maximization(Y):
    """Powers and spatial covariances of sources: (S, C, F, T) -> v (S, F, T), R (S, C, C, F)."""
    v = np.square(np.abs(Y)).mean(axis=1)
    energy = EPS + v.sum(axis=-1)  # (S, F)
    return v, np.einsum("scft,sdft->scdf", Y, Y.conj()) / energy[:, None, None]


def expectation(X, v, R):
    """The best estimates of all sources: X (C, F, T), v (S, F, T), R (S, C, C, F) -> (S, C, F, T).

    (sum_j v_j R_j)^-1 x is the same for all sources and computed once.
    """
    C = len(X)
    covariance = np.einsum("sft,scdf->cdft", v, R)
    covariance[range(C), range(C)] += np.sqrt(EPS)
    whitened = _solve(covariance, X)
    return v[:, None] * np.einsum("scdf,dft->scft", R, whitened)


def _solve(A, x):
    """A^-1 x for 1 x 1 or 2 x 2 matrices A (C, C, F, T), by Cramer's rule: (C, F, T)."""
    if len(x) == 1:
        return x / A[0]
    (a, b), (c, d) = A
    return np.stack([d * x[0] - b * x[1], a * x[1] - c * x[0]]) / (a * d - b * c)
