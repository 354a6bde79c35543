"""Non-negative matrix factorisation: a spectrogram as a few spectra, each switched on and off.

    V  ~  W H                 V[f, t] ~ sum_k W[f, k] H[k, t]

Column k of W is a spectrum, row k of H says when it sounds and how loudly. Nothing may be negative:
sounds add up, none takes away what another has, so what comes out are parts (a note, a drum, a
vowel) and not the plus and minus of a principal component analysis.

How near W H is to V is told by a beta-divergence, d(x | y) for x = V[f, t], y = (W H)[f, t]:

    beta = 2   Euclidean          (x - y)^2 / 2
    beta = 1   Kullback-Leibler   x log(x / y) - x + y
    beta = 0   Itakura-Saito      x / y - log(x / y) - 1

Scaling both by c scales d by c^beta: with 2 the loud bins decide alone, with 0 a whisper counts as
much as a shout; 1 with magnitudes is the usual choice for music.

The gradient of D = sum d(V | W H) in H is the difference of two terms that are not negative,

    dD/dH = W^T (WH)^(beta-1)  -  W^T (V (WH)^(beta-2))        products of entries, but W^T a matrix

so the step H <- H - eta dD/dH with the step size eta = H / (first term) becomes a *multiplicative
update*,

    H <- H * ( W^T (V (WH)^(beta-2)) / W^T (WH)^(beta-1) )^gamma

which keeps H non-negative, stands still where the gradient is 0, and needs no learning rate. It
never raises D if

    gamma = 1 / (2 - beta)  for beta < 1,    1  for 1 <= beta <= 2,    1 / (beta - 1)  for beta > 2

since it then steps to the minimum of a function that lies above D and touches it at the present H
(majorisation-minimisation). W is updated alike, with V^T ~ H^T W^T. One after the other: the proof
holds H fixed while W moves, and moving both at once lets D jump.

The work is done on some rows of V at a time, whose W H stays in the cache of the processor; as
whole arrays, V, W H and their powers would pass through the memory at every operation.

References: Lee & Seung (2001), Algorithms for non-negative matrix factorization, NIPS (beta 1, 2);
Fevotte & Idier (2011), Algorithms for nonnegative matrix factorization with the beta-divergence,
Neural Computation 23(9), section 4.1; for sparsity Le Roux, Weninger & Hershey (2015), Sparse NMF:
half-baked or well done?, MERL TR2015-023, eq. 10 and 11.

Legend: V (F, T) spectrogram, F bins, T frames; K components; W (F, K) spectra, H (K, T) activations
(elsewhere H is a hidden size).
"""

import math
from typing import NamedTuple

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer

NEAR = 1e-6  # nearer than this to 0 or 1, beta counts as 0 or 1
BLOCK = 2**18  # entries of V worked on at a time: a megabyte of float32


class Factorization(NamedTuple):
    """What `nmf` returns.

    Attributes
    ----------
    W : (F, K) spectra
    H : (K, T) activations
    history : list of (number of updates, divergence), the first before any update
    """

    W: np.ndarray
    H: np.ndarray
    history: list


def nmf(
    V, W, H, *, beta=1.0, n_fixed=0, sparsity=0.0, n_iter=200, tol=1e-4, every=10, progress=None
):
    """Factorise a spectrogram by multiplicative updates from a given start.

    Where to start from: `random_factors`, `nndsvd_factors`, or a dictionary W that was learned or
    made, with any positive H. With `n_fixed` columns of W that do not move, the rest explains what
    they cannot (semi-supervised); with all of them, only the activations are sought (supervised).

    `sparsity` adds sparsity * sum H to the divergence, which switches on few spectra at a time. By
    itself that penalty could be made as small as one likes, H halved and W doubled; so the columns
    of W are held at length 1, and their update accounts for it.

    Parameters
    ----------
    V : (F, T) magnitude or power spectrogram, not negative; for beta <= 0 positive
    W : (F, K) spectra to start from, not negative; what is 0 stays 0
    H : (K, T) activations to start from
    beta : of the divergence
    n_fixed : how many columns of W stay as they are, counted from the first
    sparsity : weight of the sum of H
    n_iter : most updates of W and H
    tol : stop when sqrt(2 D) has fallen by less than tol * sqrt(2 D at the start) within `every`
        updates, as scikit-learn does; 0 never stops
    every : updates between two measurements of the divergence
    progress : function called with (updates done, divergence) at each of them, or None

    Returns
    -------
    Factorization; neither V nor the start is changed

    Raises
    ------
    ShapeError : shapes that do not fit, or entries that are negative or not finite

    Examples
    --------
    >>> V = np.outer([1.0, 2.0, 0.0], [1.0, 0.0, 3.0, 1.0])  # one spectrum, thrice switched on
    >>> W, H, history = nmf(V, np.ones((3, 1)), np.ones((1, 4)), beta=2, n_iter=3)
    >>> (W @ H).round(6)
    array([[1., 0., 3., 1.],
           [2., 0., 6., 2.],
           [0., 0., 0., 0.]])
    """
    V, W, H = _require_factors(V, W, H, beta)
    if not 0 <= n_fixed <= W.shape[1]:
        raise ConfigError(f"n_fixed must be from 0 to the {W.shape[1]} columns of W, got {n_fixed}")
    if not 0 <= sparsity < math.inf:
        raise ConfigError(f"sparsity must be a finite number of at least 0, got {sparsity!r}")
    if not 0 <= tol < math.inf:
        raise ConfigError(f"tol must be a finite number of at least 0, got {tol!r}")
    require_positive_integer("n_iter", n_iter)
    require_positive_integer("every", every)

    if sparsity:
        length = _lengths(W)
        W, H = W / length, H * length.T  # the same product
    free = slice(n_fixed, None)
    history = [(0, beta_divergence(V, W, H, beta) + sparsity * float(H.sum()))]
    for done in range(1, n_iter + 1):
        if n_fixed < W.shape[1]:
            W[:, free] = update_spectra(V, W, H, beta, normalized=sparsity > 0)[:, free]
        H = update_activations(V, W, H, beta, sparsity)
        if done % every == 0 or done == n_iter:
            D = beta_divergence(V, W, H, beta) + sparsity * float(H.sum())
            history.append((done, D))
            if progress is not None:
                progress(done, D)
            fallen = math.sqrt(2 * max(history[-2][1], 0)) - math.sqrt(2 * max(D, 0))
            if tol > 0 and fallen < tol * math.sqrt(2 * history[0][1]):
                break
    return Factorization(W, H, history)


# Divergence --------------------------------------------------------------------------------------


def beta_divergence(V, W, H, beta=1.0):
    """How far W H is from V: the sum of d_beta over all entries.

    For beta other than 0 and 1,

        d(x | y) = (x^beta + (beta - 1) y^beta - beta x y^(beta-1)) / (beta (beta - 1))

    and 0 and 1 are its limits; nearer than 1e-6 to them, where it is a difference of almost equal
    numbers, beta counts as 0 or 1. 0 log 0 counts as 0.

    Parameters
    ----------
    V : (F, T) not negative
    W, H : (F, K) and (K, T) not negative
    beta : 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito

    Returns
    -------
    float, 0 where W H = V

    Examples
    --------
    >>> V, W, H = np.array([[1.0, 2.0]]), np.array([[1.0]]), np.array([[2.0, 2.0]])
    >>> [round(beta_divergence(V, W, H, beta), 3) for beta in (2, 1, 0)]
    [0.5, 0.307, 0.193]
    """
    V, W, H = _require_factors(V, W, H, beta)
    beta = round(beta) if min(abs(beta), abs(beta - 1)) < NEAR else beta
    total = 0.0
    for rows, y in _products(V, W, H):
        x = V[rows]
        if beta == 2:
            d = np.square(x - y) / 2
        elif beta == 1:
            d = x / y
            d += np.finfo(d.dtype).tiny  # 0 log 0 = 0
            np.log(d, out=d)
            d *= x
            d -= x
            d += y
        elif beta == 0:
            d = x / y
            d -= np.log(d) + 1
        else:
            x, y = x.astype(np.float64), y.astype(np.float64)  # the three terms almost cancel
            d = _power(x, beta) + (beta - 1) * _power(y, beta) - beta * x * _power(y, beta - 1)
            d /= beta * (beta - 1)
        total += float(d.sum(axis=1).sum(dtype=np.float64))
    return total


# Updates -----------------------------------------------------------------------------------------


def update_activations(V, W, H, beta=1.0, sparsity=0.0):
    """One multiplicative update of H.

        H <- H * ( W^T (V (WH)^(beta-2)) / (W^T (WH)^(beta-1) + sparsity) )^gamma

    Parameters
    ----------
    V : (F, T) not negative
    W, H : (F, K) and (K, T) not negative
    beta : of the divergence
    sparsity : weight of the sum of H that is added to the divergence

    Returns
    -------
    (K, T) updated activations
    """
    if beta == 2:  # no need of W H: K is small, so W^T W is smaller than anything
        less, more = W.T @ V, (W.T @ W) @ H  # (K, T) each
    else:
        less, more = np.zeros_like(H), np.zeros_like(H)
        if beta == 1:  # (WH)^0 = 1
            more += W.sum(axis=0)[:, None]
        for rows, y in _products(V, W, H):
            Wt = W[rows].T  # (K, n)
            ratio, rest = _ratio(V[rows], y, beta)
            less += Wt @ ratio
            if rest is not None:
                more += Wt @ rest
    return H * _quotient(less, more + sparsity, beta)


def update_spectra(V, W, H, beta=1.0, normalized=False):
    """One multiplicative update of W.

        W <- W * ( (V (WH)^(beta-2)) H^T / (WH)^(beta-1) H^T )^gamma

    With `normalized`, for columns of length 1 that shall stay so: a change along the column itself
    alters nothing but its length, so its share moves to the other side of the quotient,

        less + W (w^T more),    more + W (w^T less)        w^T: the sum over the rows of W * ...

    and the columns are scaled back to length 1.

    Parameters
    ----------
    V : (F, T) not negative
    W, H : (F, K) and (K, T) not negative
    beta : of the divergence

    Returns
    -------
    (F, K) updated spectra
    """
    if beta == 2:
        less, more = V @ H.T, W @ (H @ H.T)  # (F, K) each
    else:
        less, more = np.empty_like(W), np.empty_like(W)
        if beta == 1:  # (WH)^0 = 1
            more[...] = H.sum(axis=1)
        for rows, y in _products(V, W, H):
            ratio, rest = _ratio(V[rows], y, beta)
            less[rows] = ratio @ H.T
            if rest is not None:
                more[rows] = rest @ H.T
    if not normalized:
        return W * _quotient(less, more, beta)
    along_more, along_less = (W * more).sum(axis=0), (W * less).sum(axis=0)  # (K,)
    W = W * _quotient(less + W * along_more, more + W * along_less, beta)
    return W / _lengths(W)


def exponent(beta):
    """The gamma with which the divergence provably never rises."""
    if beta < 1:
        return 1 / (2 - beta)
    return 1.0 if beta <= 2 else 1 / (beta - 1)


# Pieces ------------------------------------------------------------------------------------------


def _quotient(less, more, beta):
    """(less / more)^gamma; where nothing pulls down, nothing moves far: more is held above 0."""
    quotient = less / (more + np.finfo(more.dtype).tiny)
    gamma = exponent(beta)
    return quotient if gamma == 1 else quotient**gamma


def _ratio(x, y, beta):
    """V (WH)^(beta-2) and (WH)^(beta-1) of V and WH, which it may change; for 1 None."""
    if beta == 1:
        return np.divide(x, y, out=y), None
    rest = _power(y, beta - 1)
    ratio = x * rest
    ratio /= y
    return ratio, rest


def _products(V, W, H):
    """Yield (rows, W[rows] H), some rows after the other, each time in the same memory.

    W H is held above 0, to be divided by, by one component more, constant and tiny: far below what
    W H can hold beside its mean, and far above what its dtype cannot. (A maximum of each entry
    would take as long as half of the matrix product.)
    """
    F, T = V.shape
    mean = float(W.sum(axis=0) @ H.sum(axis=1)) / V.size or float(V.mean())
    floor = math.sqrt(mean * 1e-3 * np.finfo(V.dtype).eps or 1.0)
    W = np.concatenate([W, np.full((F, 1), floor, W.dtype)], axis=1)  # (F, K + 1)
    H = np.concatenate([H, np.full((1, T), floor, H.dtype)])  # (K + 1, T)
    n = min(F, max(1, BLOCK // T))
    y = np.empty((n, T), V.dtype)
    for start in range(0, F, n):
        rows = slice(start, min(start + n, F))
        yield rows, np.matmul(W[rows], H, out=y[: rows.stop - start])


def _power(y, p):
    """y^p; the whole powers that the usual divergences need without the slow `pow`."""
    if p in (1, -1, 2, -2):
        z = y * y if abs(p) == 2 else y
        return z if p > 0 else 1 / z
    return np.ones_like(y) if p == 0 else y**p


def _lengths(W):
    """Euclidean length of each column, (1, K); 1 for what is silent."""
    length = np.sqrt(np.square(W).sum(axis=0, keepdims=True))
    return np.where(length > 0, length, 1)


def _require_factors(V, W, H, beta):
    """Return V, W, H as floating-point arrays of one dtype after every check."""
    arrays = {}
    for name, array in (("V", V), ("W", W), ("H", H)):
        array = np.asarray(array)
        if array.ndim != 2 or array.size == 0:
            raise ShapeError(f"{name} must be a matrix that is not empty, got {array.shape}")
        if not np.issubdtype(array.dtype, np.floating):
            raise ShapeError(f"{name} must hold real floats, got dtype {array.dtype}")
        if not np.isfinite(array).all() or array.min() < 0:
            bad = "NaN or infinity" if not np.isfinite(array).all() else f"{array.min():g}"
            raise ShapeError(f"{name} must hold finite numbers that are not negative, got {bad}")
        arrays[name] = array
    V = arrays["V"]
    W, H = (arrays[name].astype(V.dtype) for name in "WH")  # copies
    if W.shape[0] != V.shape[0] or H.shape[1] != V.shape[1] or W.shape[1] != H.shape[0]:
        raise ShapeError(
            f"V (F, T), W (F, K) and H (K, T) must fit each other, got V {V.shape}, W {W.shape}, "
            f"H {H.shape}"
        )
    if not math.isfinite(beta):
        raise ConfigError(f"beta must be a finite number, got {beta!r}")
    if beta < NEAR and V.min() == 0:
        raise ShapeError(
            f"V must be positive for beta <= 0, at which 0 is infinitely far from anything; "
            f"{(V == 0).sum()} of its {V.size} entries are 0: add a floor to V"
        )
    return V, W, H
