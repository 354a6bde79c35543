"""Griffin-Lim: a sound from the magnitudes of its STFT alone, the phases being lost.

Frames overlap, so most complex matrices X are the STFT of no signal: neighbouring frames contradict
each other. Two sets of matrices are of interest here,

    those that have the magnitudes S           nearest to X:    S X / |X|
    those that are the STFT of a signal        nearest to X:    stft(istft(X))

and what we look for lies in both, or as near to both as can be. The algorithm starts with random
phases and goes back and forth between the two. Every round brings

    the error   | |stft(y)| - S |

down, or leaves it. It finds *a* sound with about these magnitudes; the waveform may be another.

The faster variant overshoots: it takes not the new X_n but a point beyond it, in the direction in
which the last round went,

    T_n = stft(istft(S Y_(n-1)))        Y_n = phases of  T_n - m / (1 + m) T_(n-1)

With momentum m = 0 it is the first algorithm; with 0.99, as here and in librosa, the error may rise
for a moment but ends lower.

References
----------
Griffin & Lim (1984), Signal estimation from modified short-time Fourier transform, IEEE
TASSP 32(2), section III; momentum: Perraudin, Balazs & Sondergaard (2013), A fast Griffin-Lim
algorithm, WASPAA, algorithm 2.

Legend: F bins, T frames, N samples.
"""

import numpy as np

from scratchaudio.dsp.mel import require_spectrogram
from scratchaudio.dsp.stft import istft, stft
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer


def griffinlim(
    S,
    *,
    n_iter=32,
    hop_length=None,
    win_length=None,
    n_fft=None,
    window="hann",
    center=True,
    length=None,
    momentum=0.99,
    rng=None,
):
    """Estimate the waveform whose STFT has the magnitudes S.

    Parameters
    ----------
    S : (..., F, T) magnitudes, not their squares
    n_iter : rounds; 30 to 60 are usual
    hop_length, win_length, n_fft, window, center, length : as for `istft`
    momentum : 0 for the algorithm of 1984; at least 0
    rng : seed or Generator of the phases at the start

    Returns
    -------
    y : (..., N) of the dtype of S

    Examples
    --------
    >>> y = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    >>> S = np.abs(stft(y, n_fft=512))
    >>> z = griffinlim(S, length=8000, rng=0)
    >>> error = np.linalg.norm(np.abs(stft(z, n_fft=512)) - S) / np.linalg.norm(S)
    >>> bool(error < 0.05)
    True
    """
    S = require_spectrogram("S", S)
    if (S < 0).any():
        raise ShapeError(
            "S must hold magnitudes, but some are negative; a spectrogram in dB must be turned "
            "back first, by db_to_amplitude"
        )
    require_positive_integer("n_iter", n_iter)
    if not 0 <= momentum < np.inf:
        raise ConfigError(f"momentum must be a finite number of at least 0, got {momentum}")
    n_fft = 2 * (S.shape[-2] - 1) if n_fft is None else n_fft
    transform = {
        "n_fft": n_fft,
        "hop_length": hop_length,
        "win_length": win_length,
        "window": window,
        "center": center,
    }
    rng = np.random.default_rng(rng)
    complex_dtype = np.result_type(S, np.complex64)
    X = S * np.exp(2j * np.pi * rng.random(S.shape)).astype(complex_dtype)
    before = 0
    for _ in range(n_iter):
        T = stft(istft(X, length=length, **transform), **transform)
        T = _as_many_frames(T, S.shape[-1])
        X = T - momentum / (1 + momentum) * before
        X /= np.abs(X) + np.finfo(S.dtype).tiny  # 0 stays 0
        X *= S
        before = T
    return istft(X, length=length, **transform)


def _as_many_frames(X, n_frames):
    """Cut, or fill with 0: a `length` may end within the last frames, or leave a frame more."""
    X = X[..., :n_frames]
    return np.pad(X, [(0, 0)] * (X.ndim - 1) + [(0, n_frames - X.shape[-1])])
