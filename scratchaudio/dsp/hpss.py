"""Harmonic and percussive sounds told apart by the direction of their lines in a spectrogram.

A held note is a horizontal line: many frames, one bin. A drum stroke is a vertical one: one frame,
many bins. A median along a line keeps it, since most entries under the filter belong to it, and
wipes out what only crosses it:

    horizontal    harmonic[f, t]   = median of S[f, t - n ... t + n]
    vertical      percussive[f, t] = median of S[f - n ... f + n, t]

and with masks in proportion to these two, each bin is divided:

    mask_h = harmonic^p / (harmonic^p + percussive^p),      mask_p = 1 - mask_h

How long a note must be held to count as a line depends on the STFT. A singing voice lies between:
it glides and wavers. To long windows, which see single partials of a steady piano, it is not steady
and goes with the drums; to short ones it is, and the drums are not. So two passes, the second on
what the first calls percussive, leave the voice in between (`voice_between`).

Legend: S (..., F, T) magnitude spectrogram, F bins, T frames; N samples.

Sources: Fitzgerald (2010), Harmonic/percussive separation using median filtering, DAFx; two passes:
Fitzgerald & Gainza (2010), Single channel vocal separation using median filtering and factorisation
techniques, ISAST Trans. Electronic and Signal Processing 4(1).
"""

import math

import numpy as np
from scipy.ndimage import median_filter

from scratchaudio.dsp.masks import ratio_masks
from scratchaudio.dsp.stft import istft, stft
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

# Windows of both passes, s. Of 0.1 to 3 s with 0.02 to 0.1 s, the voices of the songs in
# sounds/songs, without that of the demo, come out best with these, by the mean of their SI-SDR.
# Notes of a band are exact in pitch and come again: the longer the window, the fewer bins they
# share with a voice.
LONG, SHORT = 1.5, 0.05
LOWEST_VOICE = 120  # Hz: what lies below is never the voice


def hpss(S, *, kernel_size=31, power=2.0, mask=False, margin=1.0):
    """Divide a spectrogram into its harmonic and its percussive part.

    librosa's name, arguments and numbers.

    Parameters
    ----------
    S : (..., F, T) magnitudes, or a complex STFT, whose phases both parts keep
    kernel_size : frames, and bins, of the medians; an odd number, or a pair (frames, bins)
    power : p of the masks
    mask : return the masks instead of the parts
    margin : how many times larger one median must be than the other to count, at least 1; or a
        pair (harmonic, percussive). Above 1, what is neither belongs to no part

    Returns
    -------
    harmonic, percussive : (..., F, T) each; with margin 1 they sum to S

    Examples
    --------
    >>> S = np.zeros((9, 9))
    >>> S[4, :] = S[:, 4] = 1  # a tone and a stroke
    >>> harmonic, percussive = hpss(S, kernel_size=5)
    >>> harmonic[4, 0].item(), percussive[4, 0].item(), harmonic[0, 4].item()
    (1.0, 0.0, 0.0)
    """
    S = np.asarray(S)
    if not np.isfinite(S).all() or S.ndim < 2 or S.size == 0:
        raise ShapeError(f"S must be a finite spectrogram (..., F, T), got shape {S.shape}")
    if not np.iscomplexobj(S) and S.min() < 0:
        raise ShapeError(f"S must hold magnitudes, not negative, but its least is {S.min()}")
    frames, bins = _pair("kernel_size", kernel_size)
    for n in (frames, bins):
        if n != int(n) or n < 1 or n % 2 == 0:
            raise ConfigError(f"kernel_size must be odd and at least 1, got {kernel_size!r}")
    margin_h, margin_p = _pair("margin", margin)
    if min(margin_h, margin_p) < 1:
        raise ConfigError(f"margin must be at least 1, got {margin!r}")

    magnitude = np.abs(S)
    harmonic = _running_median(magnitude, int(frames))
    percussive = _running_median(magnitude.swapaxes(-1, -2), int(bins)).swapaxes(-1, -2)
    both_masks = (
        _mask(harmonic, percussive * margin_h, power, margin_h == margin_p == 1),
        _mask(percussive, harmonic * margin_p, power, margin_h == margin_p == 1),
    )
    return both_masks if mask else tuple(S * m for m in both_masks)


def voice_between(x, sr, *, kernel_size=31, power=2.0):
    """Estimate the voice of a song: not steady in long windows, steady in short ones.

    A voice that holds its pitch is steady in both, and goes with the band.

    Parameters
    ----------
    x : (..., N) waveform, channels each by themselves
    sr : sampling rate, Hz
    kernel_size, power : as in `hpss`

    Returns
    -------
    (..., N) the estimate of the voice, in the dtype of x; `x` minus this is the rest
    """
    x = require_signal("x", x)
    require_positive_integer("sr", sr)
    settings = {"kernel_size": kernel_size, "power": power, "mask": True}
    y = _masked(x, LONG, sr, lambda S: hpss(S, **settings)[1])
    return _masked(y, SHORT, sr, lambda S: hpss(S, **settings)[0]).astype(x.dtype)


def _masked(x, seconds, sr, mask_of):
    """Multiply the STFT with windows of about so many seconds by the mask of its magnitudes."""
    n_fft = 2 ** max(3, round(np.log2(seconds * sr)))
    X = stft(x, n_fft=n_fft, hop_length=n_fft // 4)
    Y = mask_of(np.abs(X)) * X
    Y[..., : math.ceil(LOWEST_VOICE * n_fft / sr), :] = 0
    return istft(Y, n_fft=n_fft, hop_length=n_fft // 4, length=x.shape[-1])


def _running_median(S, n):
    """Median of the n entries around each one along the last axis, mirrored at the ends.

    SciPy filters one long row thirty times as fast as a matrix, so the rows, with their mirrored
    ends between them, are laid end to end.
    """
    n_mirrored = n // 2
    rows = np.pad(S, [(0, 0)] * (S.ndim - 1) + [(n_mirrored, n_mirrored)], mode="symmetric")
    filtered = median_filter(rows.ravel(), size=n).reshape(rows.shape)
    return filtered[..., n_mirrored : n_mirrored + S.shape[-1]]


def _mask(wanted, other, power, share_silence):
    """wanted^p / (wanted^p + other^p); where both are 0, half or nothing."""
    mask = ratio_masks(np.stack([wanted, other]), power)[0]
    return mask if share_silence else np.where(wanted + other > 0, mask, 0)


def _pair(name, value):
    """Return two numbers from one number or two."""
    pair = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(pair) != 2:
        raise ConfigError(f"{name} must be one number or a pair, got {value!r}")
    return pair
