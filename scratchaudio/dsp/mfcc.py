"""Mel-frequency cepstral coefficients: the shape of a spectrum in about a dozen numbers.

    y --STFT--> |X|^2 --mel bands--> S --10 log10--> S_dB --DCT-II--> c

The logarithm turns what multiplies in a voice, the buzz of its source times the resonances of its
mouth, into a sum. The cosine transform across the bands separates that sum by how fast it varies
with frequency: c[0] is the level, c[1] the tilt, the next ones ever finer shape. Neighbouring
bands are alike, their cosine coefficients nearly uncorrelated, so the first few say most.

    S   power in mel bands (..., M, T)     c   coefficients (..., K, T)      m   band,  0 .. M - 1
    M   number of bands, n_mels            K   n_mfcc of them are kept       k   order, 0 .. K - 1

"MFCC" is a name for many different numbers. We follow librosa; these are the usual others, with
their defaults (HTK has none for the hop; 10 ms is the HTK Book's example):

                 librosa, here        HTK                 Kaldi               python_speech_features
    pre-emphasis none                 0.97, each frame    0.97, each frame    0.97, whole signal
    frames       2048, hop 512        25.6, hop 10 ms     25, hop 10 ms       25, hop 10 ms
    at the ends  zeros, centred       only full frames    only full frames    zeros after the end
    window       hann, periodic       hamming, symmetric  povey = hann^0.85   none
    dither, DC   no                   no                  dither 1, mean off  no
    spectrum     |X|^2                |X|                 |X|^2               |X|^2 / n_fft
    mel scale    Slaney               HTK                 HTK                 HTK
    bands        128, 0 .. sr/2       20, 0 .. sr/2       23, 20 Hz .. sr/2   26, 0 .. sr/2
    triangles    in Hz, unit area     in mel, height 1    in mel, height 1    in bins, height 1
    log          10 log10             ln                  ln                  ln
    floor        1e-10; max - 80 dB   1                   float32 epsilon     float64 epsilon
    DCT-II       orthonormal          sqrt(2/M), c[0] too orthonormal         orthonormal
    liftering    off; sin(pi(k+1)/L)  22; sin(pi k / L)   22; sin(pi k / L)   22; sin(pi k / L)
    kept         20: c[0] .. c[19]    12: c[1] .. c[12]   13: c[0] .. c[12]   13: c[0] .. c[12]
    c[0]         as it is             last, if asked for  is the log energy   is the log energy
    deltas       width 9, fitted ends width 5, ends held  width 5, ends held  any width, ends held

so coefficients of one are of no use to a model trained on another. Sample values matter as well:
HTK and Kaldi take 16-bit integers, we take -1 .. 1; that shifts c[0] only, as long as no floor is
touched. `delta(width=5, mode="nearest")` gives the deltas of HTK and Kaldi.

Sources: Davis & Mermelstein (1980), Comparison of parametric representations for monosyllabic word
recognition, IEEE Trans. ASSP 28(4), eq. 1; Young et al. (2006), The HTK Book 3.4, chapter 5.
"""

import math

import numpy as np

from scratchaudio.dsp.level import power_to_db
from scratchaudio.dsp.mel import melspectrogram, require_spectrogram
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer


def dct_matrix(n, norm=None):
    """Matrix of the discrete cosine transform of type II: row k is a cosine of k half turns.

        C[k, m] = 2 cos(pi k (2 m + 1) / (2 n))

    The rows are orthogonal: C C' = diag(4 n, 2 n, 2 n, ...). `norm="ortho"` makes their length 1.

    Parameters
    ----------
    n : length of the transform, M
    norm : None, or "ortho"

    Returns
    -------
    (n, n) float64

    References
    ----------
    Ahmed, Natarajan & Rao (1974), Discrete cosine transform, IEEE Trans. Computers C-23(1), eq. 1.
    """
    require_positive_integer("n", n)
    if norm not in (None, "ortho"):
        raise ConfigError(f'norm must be None or "ortho", got {norm!r}')
    k, m = np.arange(n)[:, np.newaxis], np.arange(n)
    C = 2 * np.cos(math.pi * k * (2 * m + 1) / (2 * n))
    return C / np.linalg.norm(C, axis=1, keepdims=True) if norm == "ortho" else C


def dct(x, *, axis=-1, norm=None):
    """DCT-II along an axis, as `scipy.fft.dct`; see `dct_matrix`.

    Examples
    --------
    >>> dct(np.array([1.0, 1.0, 1.0])).round(12) + 0.0
    array([6., 0., 0.])
    """
    return _along(axis, x, lambda n: dct_matrix(n, norm))


def idct(x, *, axis=-1, norm=None):
    """Inverse of `dct`: as the rows of C are orthogonal, C^-1 is the transpose of C / length^2."""
    return _along(axis, x, lambda n: _inverse(dct_matrix(n, norm)))


def _inverse(C):
    """Inverse of a matrix with orthogonal rows."""
    return (C / (C * C).sum(axis=1, keepdims=True)).T


def _along(axis, x, matrix):
    """Multiply axis `axis` of x, of length n, by `matrix(n)`."""
    x = np.asarray(x)
    if x.ndim == 0 or x.size == 0 or not np.issubdtype(x.dtype, np.floating):
        raise ShapeError(f"x must hold floating-point values, got {x.dtype} of shape {x.shape}")
    A = matrix(x.shape[axis]).astype(x.dtype)
    return np.moveaxis(np.moveaxis(x, axis, -1) @ A.T, -1, axis)


def mfcc(
    *,
    y=None,
    sr=22050,
    S=None,
    n_mfcc=20,
    dct_type=2,
    norm="ortho",
    lifter=0,
    mel_norm="slaney",
    n_fft=2048,
    hop_length=512,
    win_length=None,
    window="hann",
    center=True,
    pad_mode="constant",
    power=2.0,
    n_mels=128,
    fmin=0.0,
    fmax=None,
    htk=False,
):
    """Mel-frequency cepstral coefficients, the same as `librosa.feature.mfcc`.

        c[k, t] = sum_m C[k, m] S_dB[m, t]          k = 0 .. n_mfcc - 1, C from `dct_matrix`

    Higher coefficients are smaller. Liftering (L > 0) lifts them to a similar range,

        c[k, t]  <-  c[k, t] (1 + L/2 sin(pi (k + 1) / L))

    Parameters
    ----------
    y : (..., N) waveform
    sr : sample rate of y, Hz
    S : (..., n_mels, T) mel spectrogram in dB, instead of y
    n_mfcc : how many coefficients to keep, K, at most the number of mel bands
    dct_type : 2, the only one here
    norm : of the cosine transform, "ortho" or None
    lifter : L, 0 for none
    mel_norm, n_fft, ..., htk : see `melspectrogram`, where mel_norm is called norm

    Returns
    -------
    (..., n_mfcc, T) in the precision of y or S

    Examples
    --------
    >>> y = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    >>> mfcc(y=y, sr=16000, n_mfcc=13, n_fft=512, hop_length=160, n_mels=40).shape
    (13, 101)
    """
    if dct_type != 2:
        raise ConfigError(f"dct_type must be 2, got {dct_type!r}")
    if not 0 <= lifter < math.inf:
        raise ConfigError(f"lifter must be at least 0 (0 for none), got {lifter!r}")
    require_positive_integer("n_mfcc", n_mfcc)
    if (y is None) == (S is None):
        raise ConfigError("mfcc needs either y, a waveform, or S, a mel spectrogram in dB")
    if S is None:
        bands = melspectrogram(
            y=y,
            sr=sr,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
            power=power,
            n_mels=n_mels,
            fmin=fmin,
            fmax=fmax,
            htk=htk,
            norm=mel_norm,
        )
        S = power_to_db(bands)
    else:
        S = require_spectrogram("S", S)
    if n_mfcc > S.shape[-2]:
        raise ConfigError(f"n_mfcc must be at most the {S.shape[-2]} mel bands, got {n_mfcc}")

    C = dct_matrix(S.shape[-2], norm)[:n_mfcc]  # (K, M)
    if lifter > 0:
        k = np.arange(n_mfcc)[:, np.newaxis]
        C = C * (1 + lifter / 2 * np.sin(math.pi * (k + 1) / lifter))
    return C.astype(S.dtype) @ S  # (..., K, T)


def delta(data, *, width=9, order=1, axis=-1, mode="interp"):
    """How features change over time: the slope (order 1) or curvature (2) of a fitted polynomial.

    The difference of two neighbouring frames is mostly noise. A straight line through `width`
    frames around t, fitted by least squares, has a steadier slope; with N = width // 2,

        d[t] = sum_n n (c[t + n] - c[t - n])  /  (2 sum_n n^2)          n = 1 .. N

    That is the regression of the HTK Book and a Savitzky-Golay filter of degree 1. For order p a
    polynomial of degree p is fitted, and its p-th derivative is the result.

    Parameters
    ----------
    data : (..., T) features, or time on another `axis`
    width : frames in the fit, odd, >= 3 and more than `order`
    order : 1 slope, 2 curvature (delta-delta), ...
    axis : axis of data that is time
    mode : what to do where the fit would reach beyond the ends: "interp" keeps the result of the
        nearest full fit (a polynomial of degree p has one p-th derivative everywhere); "nearest"
        repeats the first and last frame, as HTK and Kaldi do

    Returns
    -------
    The shape of data, change per frame^order

    References
    ----------
    Savitzky & Golay (1964), Smoothing and differentiation of data by simplified least squares
    procedures, Analytical Chemistry 36(8); Young et al. (2006), The HTK Book 3.4, eq. 5.16.

    Examples
    --------
    >>> delta(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), width=3)
    array([1., 1., 1., 1., 1.])
    """
    data = _require_delta(data, width, order, axis, mode)
    x = np.moveaxis(data, axis, -1)  # (..., T)
    N = width // 2
    n = np.arange(-N, N + 1)
    powers = np.vander(n, order + 1, increasing=True)  # (width, p + 1): a[0] + a[1] n + a[2] n^2 ..
    a_of_frames = np.linalg.pinv(powers)  # least squares: a = pinv(powers) @ frames
    weights = math.factorial(order) * a_of_frames[order]  # p-th derivative of a[p] n^p

    T = x.shape[-1]
    if mode == "nearest":
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(N, N)], mode="edge")
    inner = x.shape[-1] - 2 * N
    d = np.zeros((*x.shape[:-1], inner), x.dtype)
    for shift, weight in enumerate(weights.tolist()):
        d += weight * x[..., shift : shift + inner]
    if inner < T:
        d = np.pad(d, [(0, 0)] * (d.ndim - 1) + [(N, N)], mode="edge")
    return np.moveaxis(d, -1, axis)


def _require_delta(data, width, order, axis, mode):
    """Check the arguments of `delta`; return data as an array."""
    data = np.asarray(data)
    if data.ndim == 0 or data.size == 0 or not np.issubdtype(data.dtype, np.floating):
        raise ShapeError(f"data must be floating-point, got {data.dtype} of shape {data.shape}")
    if not np.isfinite(data).all():
        raise ShapeError("data must be finite, but it holds NaN or infinity")
    require_positive_integer("order", order)
    require_positive_integer("width", width)
    if width < 3 or width % 2 == 0 or width <= order:
        raise ConfigError(f"width must be odd, at least 3 and above order={order}; got {width}")
    if mode not in ("interp", "nearest"):
        raise ConfigError(f'mode must be "interp" or "nearest", got {mode!r}')
    if mode == "interp" and width > data.shape[axis]:
        raise ConfigError(
            f"width must be at most the {data.shape[axis]} frames of data, got {width}; "
            f'use fewer, or mode="nearest"'
        )
    return data
