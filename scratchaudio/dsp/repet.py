"""REPET: what repeats is the accompaniment, what does not is the voice.

A band plays patterns over and over while the singer goes on with the words. So for each frame find
those frames of the song that sound like it, once a bar, say, and take the median of them bin by
bin: it keeps what all have, and what only one of them has, the voice of that moment, drops out.

    B[f, t] = min( V[f, t], median over repetitions r of V[f, r] )      the background: at most V
    mask    = B / V                                                     of the accompaniment

Two ways to find the repetitions:

    `repet`      one period p for the whole piece: frames t, t +- p, t +- 2 p, ... The *beat
                 spectrum*, the autocorrelation of all bins' powers over time, tells p.
    `repet_sim`  those most similar to frame t wherever they are, by the cosine between spectra; a
                 rhythm may change, and a chord may come again at any time.

The voice is an estimate of what is left. It holds drum fills and solos too, and lacks whatever the
singer repeats.

Legend: V (F, T) magnitude spectrogram, F bins, T frames, p period in frames; x (..., N) waveform.

Sources: Rafii & Pardo (2013), REpeating Pattern Extraction Technique (REPET), IEEE Trans. ASLP
21(1); Rafii & Pardo (2012), Music/voice separation using the similarity matrix, ISMIR.
"""

import math

import numpy as np
from scipy.signal import find_peaks

from scratchaudio.dsp.stft import istft, stft
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

LOWEST_VOICE = 100  # Hz: what lies below is never the voice
PERIODS = 0.8, 8.0  # s, shortest and longest period looked for
REPETITIONS = 3  # of a period that must fit into the piece
APART = 1.0  # s between two repetitions at least
MOST_SIMILAR = 100  # frames of which the median is taken
LEAST_SIMILARITY = 0.0


def beat_spectrum(V):
    """How much the piece resembles itself after a lag: autocorrelation of the powers, 1 at lag 0.

        b[l] = mean over f and t of V^2[f, t] V^2[f, t + l]

    Parameters
    ----------
    V : (F, T) magnitudes

    Returns
    -------
    (T,) for lags of 0 ... T - 1 frames

    References
    ----------
    Rafii & Pardo (2013), eq. 1. Each lag is divided by the number of products in its sum.
    """
    V = _require_magnitudes(V)
    power = np.square(V / (V.max() or 1.0))
    F, T = power.shape
    spectra = np.fft.rfft(power, 2 * T, axis=1)  # twice as long: no lag meets the other end
    b = np.fft.irfft(np.square(np.abs(spectra)).sum(axis=0))[:T] / np.arange(T, 0, -1)
    return b / b[0] if b[0] > 0 else b


def repetition_period(b, shortest, longest):
    """The period in frames: the lag at which, and at whose multiples, the beat spectrum is high.

    For each lag, the mean of b over its multiples; from this the mean of b around them is taken, so
    that a high plain does not pass for a peak.

    Parameters
    ----------
    b : (T,) beat spectrum
    shortest, longest : lags to choose from, frames
    """
    b = np.asarray(b)
    if not 0 < shortest <= longest < len(b):
        raise ConfigError(
            f"a period must satisfy 0 < shortest <= longest < {len(b)} frames of the piece, got "
            f"shortest={shortest} and longest={longest}"
        )
    best, period = -math.inf, shortest
    for lag in range(shortest, longest + 1):
        multiples = np.arange(lag, len(b), lag)
        around = [b[max(0, m - lag // 2) : m + lag // 2 + 1].mean() for m in multiples]
        height = (b[multiples] - around).mean()
        if height > best:
            best, period = height, lag
    return period


def repeating_mask(V, period):
    """Share of the repeating background, for one period: (F, T) -> mask (F, T).

    Parameters
    ----------
    V : (F, T) magnitudes
    period : frames
    """
    V = _require_magnitudes(V)
    require_positive_integer("period", period)
    F, T = V.shape
    n = -(-T // period)
    padded = np.full((F, n * period), np.nan, V.dtype)
    padded[:, :T] = V
    segment = np.nanmedian(padded.reshape(F, n, period), axis=1)  # (F, period)
    background = np.tile(segment, n)[:, :T]
    return _share(background, V)


def similar_mask(V, n_similar=MOST_SIMILAR, apart=1, least=LEAST_SIMILARITY):
    """Share of the repeating background, from the frames most similar to each: mask (F, T).

    Parameters
    ----------
    V : (F, T) magnitudes
    n_similar : frames to take the median of, at most
    apart : least distance between two of them, frames
    least : smallest cosine that counts as similar
    """
    V = _require_magnitudes(V)
    require_positive_integer("n_similar", n_similar)
    require_positive_integer("apart", apart)
    length = np.sqrt(np.square(V).sum(axis=0))
    unit = V / np.where(length > 0, length, 1)
    cosine = unit.T @ unit  # (T, T)
    background = np.empty_like(V)
    for t in range(V.shape[1]):
        chosen = _peaks(cosine[t], n_similar, apart, least)
        background[:, t] = np.median(V[:, chosen], axis=1)
    return _share(background, V)


def repet(x, sr, *, n_fft=2048, hop_length=512):
    """Estimate the voice of a song whose band repeats one pattern.

    Parameters
    ----------
    x : (..., N) waveform, channels each by themselves
    sr : sampling rate, Hz
    n_fft, hop_length : of the STFT

    Returns
    -------
    (..., N) the estimate of the voice, in the dtype of x; `x` minus this is the rest
    """

    def background(V):
        T = V.shape[1]
        longest = min(round(PERIODS[1] * sr / hop_length), T // REPETITIONS)
        shortest = min(max(1, round(PERIODS[0] * sr / hop_length)), longest)
        if shortest < 1:
            raise ShapeError(f"x is too short for anything to repeat in it: {T} frames")
        return repeating_mask(V, repetition_period(beat_spectrum(V), shortest, longest))

    return _foreground(x, sr, n_fft, hop_length, background)


def repet_sim(x, sr, *, n_fft=2048, hop_length=512):
    """Estimate the voice of a song as what is unlike all similar moments.

    Arguments and result as for `repet`. Memory grows with the square of the length, some 4 MB for
    10 s.
    """
    apart = max(1, round(APART * sr / hop_length))
    return _foreground(x, sr, n_fft, hop_length, lambda V: similar_mask(V, apart=apart))


def _foreground(x, sr, n_fft, hop_length, background):
    """Multiply the STFT of each channel by 1 minus its background's mask, and by 0 in the bass."""
    x = require_signal("x", x)
    require_positive_integer("sr", sr)
    X = stft(x, n_fft=n_fft, hop_length=hop_length)  # (..., F, T)
    Y = np.empty_like(X)
    for channel in np.ndindex(X.shape[:-2]):
        Y[channel] = (1 - background(np.abs(X[channel]))) * X[channel]
    Y[..., : math.ceil(LOWEST_VOICE * n_fft / sr), :] = 0
    return istft(Y, n_fft=n_fft, hop_length=hop_length, length=x.shape[-1]).astype(x.dtype)


def _peaks(row, n, apart, least):
    """Indices of the n highest local maxima of a row, no two of them nearer than `apart`."""
    walled = np.concatenate([[-np.inf], row, [-np.inf]])  # the ends may be maxima too
    peaks = find_peaks(walled, height=least, distance=apart)[0] - 1
    return peaks[np.argsort(-row[peaks], kind="stable")[:n]]


def _share(background, V):
    """min(background, V) / V, 1 where V is silent."""
    return np.divide(np.minimum(background, V), V, out=np.ones_like(V), where=V > 0)


def _require_magnitudes(V):
    """Return V as an array (F, T) of finite numbers that are not negative."""
    V = require_signal("V", V)
    if V.ndim != 2:
        raise ShapeError(f"V must be one spectrogram (F, T), got shape {V.shape}")
    if V.min() < 0:
        raise ShapeError(f"V must hold magnitudes, not negative, but its least is {V.min()}")
    return V
