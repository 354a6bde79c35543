"""Where a factorisation starts from, which decides what it can find.

Multiplicative updates go downhill from where they stand, to the nearest of many minima, and what is
0 stays 0. So the start is a choice of its own, made before `nmf` and handed to it:

    random_factors      nothing is known. Another seed, another result
    nndsvd_factors      the singular vectors of V, made non-negative: one result, often a nearer one
    harmonic_spectra    a dictionary of notes: each spectrum can only become the note it began as,
                        since all between its partials is 0

and the best start is a dictionary learned from recordings of the source alone.

Legend: V (F, T) spectrogram, W (F, K) spectra, H (K, T) activations, as in `nmf`.
"""

import math

import numpy as np

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal


def random_factors(V, n_components, rng=None):
    """Draw W and H whose product has about the mean of V.

        W, H = sqrt(mean(V) / K) |normal numbers|

    Parameters
    ----------
    V : (F, T) spectrogram
    n_components : K
    rng : seed or Generator

    Returns
    -------
    W : (F, K)
    H : (K, T), both in the dtype of V and nowhere 0
    """
    V, K = _require(V, n_components)
    rng = np.random.default_rng(rng)
    scale = math.sqrt(V.mean() / K) or 1.0
    tiny = np.finfo(V.dtype).tiny
    W, H = (
        np.maximum(scale * np.abs(rng.standard_normal(shape)), tiny).astype(V.dtype)
        for shape in ((V.shape[0], K), (K, V.shape[1]))
    )
    return W, H


def nndsvd_factors(V, n_components, *, fill=None):
    """Non-negative double singular value decomposition: singular vectors cut into their halves.

    V = sum_k s_k u_k v_k^T has both signs in all vectors but the first. Each is the difference of
    two that are not negative, u = u+ - u-; of u v^T the products u+ v+^T and u- v-^T are
    non-negative, and the larger of them is kept:

        W[:, k] = sqrt(s_k |u+| |v+|) u+ / |u+|        H[k] = sqrt(s_k |u+| |v+|) v+ / |v+|

    Half of the entries come out 0, and multiplicative updates could never change that. So they are
    filled, with the mean of V unless `fill` says otherwise ("NNDSVDa").

    Parameters
    ----------
    V : (F, T) spectrogram
    n_components : K, at most min(F, T)
    fill : what stands in place of 0; 0 leaves them

    Returns
    -------
    W : (F, K)
    H : (K, T)

    References
    ----------
    Boutsidis & Gallopoulos (2008), SVD based initialization: a head start for nonnegative matrix
    factorization, Pattern Recognition 41(4), algorithm 1 and section 2.3. Entries below 1e-6 count
    as 0, as in scikit-learn.
    """
    V, K = _require(V, n_components)
    if min(V.shape) < K:
        raise ConfigError(
            f"n_components must be at most {min(V.shape)}, the number of singular vectors of V "
            f"{V.shape}, got {K}"
        )
    if fill is not None and not 0 <= fill < math.inf:
        raise ConfigError(f"fill must be None or a finite number of at least 0, got {fill!r}")
    left, s, right = np.linalg.svd(V.astype(np.float64), full_matrices=False)
    W, H = np.zeros((V.shape[0], K)), np.zeros((K, V.shape[1]))
    for k in range(K):
        u, v = left[:, k], right[k]
        halves = [(np.maximum(u, 0), np.maximum(v, 0)), (np.maximum(-u, 0), np.maximum(-v, 0))]
        strength = [np.linalg.norm(u) * np.linalg.norm(v) for u, v in halves]
        u, v = halves[int(strength[1] > strength[0])]
        if max(strength) > 0:
            scale = math.sqrt(s[k] * max(strength))
            W[:, k], H[k] = scale * u / np.linalg.norm(u), scale * v / np.linalg.norm(v)
    filled = V.mean() if fill is None else fill
    return tuple(np.where(A < 1e-6, filled, A).astype(V.dtype) for A in (W, H))


def harmonic_spectra(pitches, sr, n_fft, *, n_harmonics=20, tilt=1.0, fmax=None):
    """Make a dictionary of notes: for each pitch the peaks of its harmonics, 0 between them.

        W[f, k] = sum_h h^-tilt |Hann(f - h pitch_k)|

    A harmonic of the periodic Hann window, delta bins away from the centre of a bin, has there

        |Hann(delta)| = |sinc(delta)| / |1 - delta^2|,    cut to 0 beyond the main lobe, |delta| > 2

    Parameters
    ----------
    pitches : (K,) fundamental frequencies, Hz
    sr : sampling rate, Hz
    n_fft : of the STFT
    n_harmonics : of each note, fewer where they would lie above `fmax`
    tilt : harmonic h has the amplitude h^-tilt
    fmax : Hz, highest harmonic; None: sr / 2

    Returns
    -------
    (F, K) float64

    Examples
    --------
    >>> W = harmonic_spectra([3000], sr=16000, n_fft=16, n_harmonics=2)  # bins of 1000 Hz
    >>> W.ravel().round(2)
    array([0.  , 0.  , 0.5 , 1.  , 0.5 , 0.25, 0.5 , 0.25, 0.  ])
    """
    pitches = np.asarray(pitches, np.float64)
    require_positive_integer("sr", sr)
    require_positive_integer("n_fft", n_fft)
    require_positive_integer("n_harmonics", n_harmonics)
    fmax = sr / 2 if fmax is None else fmax
    if pitches.ndim != 1 or pitches.size == 0:
        raise ShapeError(f"pitches must be a list of frequencies in Hz, got shape {pitches.shape}")
    if not (np.all(pitches > 0) and np.all(pitches < fmax)):
        raise ConfigError(f"pitches must lie between 0 and {fmax:g} Hz, got {pitches}")
    bins = np.arange(n_fft // 2 + 1)[:, None]  # (F, 1)
    W = np.zeros((len(bins), len(pitches)))
    for h in range(1, n_harmonics + 1):
        frequency = h * pitches  # (K,)
        delta = bins - frequency * n_fft / sr
        lobe = np.where(np.abs(delta) < 2, np.abs(_hann_transform(delta)), 0)
        W += np.where(frequency <= fmax, lobe, 0) * h**-tilt
    return W


def _hann_transform(delta):
    """sinc(delta) / (1 - delta^2), which is 1/2 at |delta| = 1."""
    at_one = np.isclose(np.abs(delta), 1)
    safe = np.where(at_one, 0, delta)
    return np.where(at_one, 0.5, np.sinc(safe) / (1 - safe**2))


def _require(V, n_components):
    V = require_signal("V", V)
    require_positive_integer("n_components", n_components)
    if V.ndim != 2 or V.min() < 0:
        raise ShapeError(f"V must be a matrix that is not negative, got shape {V.shape}")
    return V, n_components
