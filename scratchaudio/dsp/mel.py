r"""The mel scale: spectra as coarse as the ear hears them.

Below 1 kHz equal steps in Hz sound about equally large, above it equal *ratios* do. The mel scale
is warped so that equal steps in mel sound equal. Two formulas are in use:

    Slaney    m = f / (200/3)                        below 1000 Hz (there m = 15)
              m = 15 + 27 ln(f / 1000) / ln(6.4)     above
    HTK       m = 2595 log10(1 + f / 700)            (1000 Hz is 1000 mel)

A mel filterbank is a matrix that sums the bins of a power spectrum into M bands. Its filters are
triangles over the frequency in Hz; their corners are equally spaced in mel, and each triangle
begins where the one before it peaks:

      1     /\  /\    /\        triangle m rises from edge[m] to edge[m + 1], where it is 1,
           /  \/  \  /  \       and falls to edge[m + 2]; between two peaks
          /   /\   \/    \      the two triangles there add up to 1
    -----+---+--+---+-----+--- f

`norm="slaney"` then divides each triangle by its area in Hz, so that white noise gives the same
level in all bands although the upper ones are wider.

    M   number of mel bands, n_mels     F   bins, 1 + n_fft // 2     T   frames
    S   power spectrogram (..., F, T)   y   waveform (..., N)

Sources: Slaney (1998), Auditory Toolbox version 2, Interval Research technical report 1998-010
(`mfcc.m`); Young et al. (2006), The HTK Book 3.4, eq. 5.13.
"""

import math

import numpy as np

from scratchaudio.dsp.stft import fft_frequencies, stft
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer

HZ_PER_MEL = 200 / 3  # Slaney, below the corner
CORNER_HZ, CORNER_MEL = 1000.0, 15.0
LOG_STEP = math.log(6.4) / 27  # Slaney, above: 27 mel from 1000 to 6400 Hz


def hz_to_mel(frequencies, *, htk=False):
    """Frequency in Hz to mel, on Slaney's scale or HTK's.

    Examples
    --------
    >>> hz_to_mel(np.array([100.0, 1000.0, 6400.0]))
    array([ 1.5, 15. , 42. ])
    >>> float(hz_to_mel(700.0, htk=True).round(2))
    781.17
    """
    f = np.asanyarray(frequencies)
    if htk:
        return 2595.0 * np.log10(1.0 + f / 700.0)
    log_part = CORNER_MEL + np.log(np.maximum(f, CORNER_HZ) / CORNER_HZ) / LOG_STEP
    return np.where(f < CORNER_HZ, f / HZ_PER_MEL, log_part)[()]


def mel_to_hz(mels, *, htk=False):
    """Mel to frequency in Hz: the inverse of `hz_to_mel`.

    Examples
    --------
    >>> mel_to_hz(np.array([1.5, 15.0, 42.0]))
    array([ 100., 1000., 6400.])
    """
    m = np.asanyarray(mels)
    if htk:
        return 700.0 * (10.0 ** (m / 2595.0) - 1.0)
    log_part = CORNER_HZ * np.exp(LOG_STEP * (np.maximum(m, CORNER_MEL) - CORNER_MEL))
    return np.where(m < CORNER_MEL, m * HZ_PER_MEL, log_part)[()]


def mel_frequencies(n_mels=128, *, fmin=0.0, fmax=11025.0, htk=False):
    """Frequencies in Hz, equally spaced in mel from `fmin` to `fmax`, both included: (n_mels,).

    Examples
    --------
    >>> mel_frequencies(4, fmin=0.0, fmax=1000.0).round(1)
    array([   0. ,  333.3,  666.7, 1000. ])
    """
    require_positive_integer("n_mels", n_mels)
    mels = np.linspace(hz_to_mel(fmin, htk=htk), hz_to_mel(fmax, htk=htk), n_mels)
    return mel_to_hz(mels, htk=htk)


def mel_filterbank(
    *, sr, n_fft, n_mels=128, fmin=0.0, fmax=None, htk=False, norm="slaney", dtype=np.float32
):
    """Matrix from FFT bins to mel bands, the same as `librosa.filters.mel`.

    Parameters
    ----------
    sr : sample rate, Hz
    n_fft : samples in a frame of the STFT
    n_mels : number of bands
    fmin, fmax : where the first triangle begins and the last one ends, Hz; fmax None is sr / 2
    htk : True for the HTK scale, False for Slaney's
    norm : "slaney" divides by the area in Hz; a number (1, 2, numpy.inf) by the vector norm of that
        order; None leaves triangles of height 1
    dtype : of the result

    Returns
    -------
    (n_mels, 1 + n_fft // 2) weights, non-negative

    Raises
    ------
    ConfigError
        when a band is so narrow that no bin falls into it (n_mels too many): it would always be 0

    Examples
    --------
    >>> mel_filterbank(sr=16000, n_fft=512, n_mels=40).shape
    (40, 257)
    """
    require_positive_integer("n_fft", n_fft)
    require_positive_integer("n_mels", n_mels)
    if not 0 < sr < math.inf:
        raise ConfigError(f"sr must be positive, in Hz; got {sr}")
    fmax = sr / 2 if fmax is None else fmax
    if not fmax <= sr / 2:
        raise ConfigError(f"fmax must be at most half the sample rate, {sr / 2:g} Hz; got {fmax}")
    if not 0 <= fmin < fmax:
        raise ConfigError(f"fmin must be at least 0 and below fmax={fmax:g} Hz; got {fmin}")

    f = fft_frequencies(sr=sr, n_fft=n_fft)  # (F,)
    edges = mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax, htk=htk)[:, np.newaxis]  # (M + 2, 1)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (f - low) / (peak - low)  # (M, F)
    falling = (high - f) / (high - peak)
    weights = np.maximum(0, np.minimum(rising, falling))

    empty = int((weights.max(axis=1) == 0).sum())
    if empty:
        raise ConfigError(
            f"n_mels={n_mels} is too many: {empty} of the {n_mels} mel bands lie between two bins, "
            f"which are {sr / n_fft:.4g} Hz apart (sr={sr}, n_fft={n_fft}), and would always be 0; "
            f"use fewer bands or a larger n_fft"
        )
    if norm == "slaney":
        weights *= 2 / (high - low)
    elif isinstance(norm, str):
        raise ConfigError(f'norm must be "slaney", None or the order of a norm; got {norm!r}')
    elif norm is not None:
        weights /= np.linalg.norm(weights, norm, axis=1, keepdims=True)
    return weights.astype(dtype)


def melspectrogram(
    *,
    y=None,
    sr=22050,
    S=None,
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
    norm="slaney",
):
    """Mel spectrogram: the power spectrogram |X|^2, its bins summed into mel bands.

    Parameters
    ----------
    y : (..., N) waveform
    sr : sample rate of y, Hz
    S : (..., F, T) power spectrogram, instead of y
    n_fft, hop_length, win_length, window, center, pad_mode : see `stft`
    power : of the magnitude: 2 for power, 1 for magnitude
    n_mels, fmin, fmax, htk, norm : see `mel_filterbank`

    Returns
    -------
    (..., n_mels, T) in the precision of y or S

    Examples
    --------
    >>> y = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    >>> melspectrogram(y=y, sr=16000, n_fft=512, hop_length=160, n_mels=40).shape
    (40, 101)
    """
    if (y is None) == (S is None):
        raise ConfigError("melspectrogram needs either y, a waveform, or S, a power spectrogram")
    if S is None:
        X = stft(
            y,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
        )
        S = _power(X, power)
    else:
        S = require_spectrogram("S", S)
        if S.shape[-2] != 1 + n_fft // 2:
            n_fft = 2 * (S.shape[-2] - 1)
    filters = mel_filterbank(
        sr=sr,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        htk=htk,
        norm=norm,
        dtype=S.dtype,
    )
    return _sum_bands(filters, S)  # (..., M, T)


def _power(X, power):
    """|X|^power, without the square root that |X| would need when power is 2."""
    squared = X.real**2 + X.imag**2
    return squared if power == 2 else squared ** (power / 2)


def _sum_bands(filters, S):
    """Product filters @ S, band by band: all weights outside a triangle are 0."""
    bands = np.empty((*S.shape[:-2], len(filters), S.shape[-1]), S.dtype)  # (..., M, T)
    for m, weights in enumerate(filters):
        inside = np.flatnonzero(weights)
        triangle = slice(inside[0], inside[-1] + 1)
        bands[..., m, :] = weights[triangle] @ S[..., triangle, :]
    return bands


def require_spectrogram(name, S):
    """Return S as an array; raise `ShapeError` unless it is real, finite and (..., bands, T)."""
    S = np.asarray(S)
    if not np.issubdtype(S.dtype, np.floating) or S.ndim < 2 or S.size == 0:
        raise ShapeError(
            f"{name} must be real floating-point of shape (..., bands, T), "
            f"got {S.dtype} of shape {S.shape}"
        )
    if not np.isfinite(S).all():
        raise ShapeError(f"{name} must be finite, but it holds NaN or infinity")
    return S
