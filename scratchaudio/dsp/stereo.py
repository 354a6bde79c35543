"""Where a sound stands between two loudspeakers, and what can be separated by that alone.

A mixing desk places a recorded voice by its loudness in the two channels, left L = a s and right
R = b s. With a = b it seems to come from between the loudspeakers: from the *centre*, where singers
stand in almost every song, and with them bass and bass drum. What stands elsewhere, and the
reverberation of all, differs from left to right. For each time and frequency the *similarity*

    psi = 2 Re(L R*) / (|L|^2 + |R|^2)        1 where L = R, 0 where only one of them sounds,
                                              -1 where R = -L

says how central it is. Cut to [0, 1] it serves as a mask. It fails where two instruments on two
sides meet in one bin, for their sum may look central, and it never tells a voice from a bass.

Legend: x (2, N) stereo waveform; X = (L, R) its STFT (2, F, T), R* the conjugate.

Source: Avendano (2003), Frequency-domain source identification and manipulation in stereo mixes for
enhancement, suppression and re-panning applications, WASPAA, eq. 1 (with the modulus instead of the
real part).
"""

import math

import numpy as np

from scratchaudio.dsp.stft import istft, stft
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

LOWEST_VOICE = 150  # Hz: below, the centre belongs to bass and bass drum


def pan(x, position):
    """Place a mono sound between two loudspeakers, at the same power wherever it is.

        left = cos(theta) x, right = sin(theta) x,    theta = (position + 1) pi / 4

    Parameters
    ----------
    x : (N,) waveform
    position : -1 left, 0 centre, 1 right

    Returns
    -------
    (2, N)

    Examples
    --------
    >>> pan(np.array([1.0]), 0).round(3).ravel()
    array([0.707, 0.707])
    """
    x = require_signal("x", x)
    if x.ndim != 1:
        raise ShapeError(f"x must be mono, (N,), got shape {x.shape}")
    if not -1 <= position <= 1:
        raise ConfigError(f"position must be from -1 (left) to 1 (right), got {position!r}")
    theta = (position + 1) * math.pi / 4
    return np.stack([math.cos(theta) * x, math.sin(theta) * x])


def similarity(X):
    """How alike left and right are: psi for each time and frequency.

    Parameters
    ----------
    X : (2, F, T) complex STFT of left and right

    Returns
    -------
    (F, T) from -1 to 1; 0 where both channels are silent

    Examples
    --------
    >>> similarity(np.array([[[1j, 1, 0]], [[1j, 0, 0]]]))
    array([[1., 0., 0.]])
    """
    X = np.asarray(X)
    if X.ndim != 3 or len(X) != 2:
        raise ShapeError(
            f"X must be the STFT of two channels, (2, F, T), got shape {X.shape}; a mono "
            f"recording has no left and right to compare"
        )
    if not np.iscomplexobj(X) or not np.isfinite(X).all():
        raise ShapeError(f"X must hold finite complex numbers, got dtype {X.dtype}")
    peak = np.abs(X).max() or 1.0  # squares of very soft or loud ones would leave their dtype
    left, right = X / peak
    energy = np.square(np.abs(left)) + np.square(np.abs(right))
    return np.divide(
        2 * (left * right.conj()).real, energy, out=np.zeros_like(energy), where=energy > 0
    )


def centre(x, sr, *, power=2.0, fmin=LOWEST_VOICE, n_fft=2048, hop_length=512):
    """Keep what stands in the middle, above the bass: an estimate of the voice of a song.

    The mask is max(psi, 0)^power from `fmin` on, and 0 below.

    Parameters
    ----------
    x : (2, N) stereo waveform
    sr : sampling rate, Hz
    power : the higher, the nearer to the centre something must be
    fmin : Hz; everything below is left to the accompaniment
    n_fft, hop_length : of the STFT

    Returns
    -------
    (2, N) the centre, in the dtype of x; `x` minus this is the rest
    """
    x = require_signal("x", x)
    require_positive_integer("sr", sr)
    if x.ndim != 2 or len(x) != 2:
        raise ShapeError(
            f"x must be stereo, (2, N), got shape {x.shape}: without two channels nothing tells "
            f"where a sound stands"
        )
    if not 0 < power < math.inf:
        raise ConfigError(f"power must be a finite number above 0, got {power!r}")
    if not 0 <= fmin < sr / 2:
        raise ConfigError(f"fmin must be from 0 to sr / 2 = {sr / 2:g} Hz, got {fmin!r}")
    X = stft(x, n_fft=n_fft, hop_length=hop_length)
    mask = np.maximum(similarity(X), 0) ** power
    mask[: math.ceil(fmin * n_fft / sr)] = 0
    return istft(mask * X, n_fft=n_fft, hop_length=hop_length, length=x.shape[-1]).astype(x.dtype)
