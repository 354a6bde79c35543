"""Loudness: how loud a sound is heard, as one number for the whole of it.

A mean square is not what we hear, for two reasons. The ear is less sensitive to low tones and a
little more to those above 2 kHz. And we judge a sound by its louder parts: a pause between two
sentences makes nobody call the speaker softer. The loudness that broadcasters agreed on (LUFS,
"loudness units relative to full scale", one unit = 1 dB) answers both with plain signal processing:

    y = K-weighting of x                   two filters: a shelf that lifts the treble by 4 dB,
                                           and a high-pass at 38 Hz
    z_j = mean of y^2 over block j         blocks of 400 ms, a new one every 100 ms
    loudness = -0.691 + 10 log10(mean of the z_j that pass two gates)

The first gate drops blocks below -70 LUFS (silence), the second those 10 dB below the mean of
the rest (pauses). The constant makes up for the shelf's gain at 997 Hz, so that a sine of that
frequency and full scale has -3.01 LUFS, the level of its mean square.

People prefer the louder of two equal sounds: whoever compares by ear must first make both equally
loud, and this is the measure to do it with.

Legend: N samples, sr sampling rate in Hz.
"""

import math

import numpy as np
from scipy.signal import sosfilt

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

OFFSET = -0.691  # dB


def loudness(x, sr):
    """Return the integrated loudness of a sound in LUFS; -inf if it is silent.

    A sound shorter than a block of 400 ms is one block.

    Parameters
    ----------
    x : (N,) or (channels, N) signal; the channels' powers add, as those of left and right do
    sr : sampling rate in Hz, at least 4000

    Returns
    -------
    float, in LUFS (dB relative to full scale, as heard)

    References
    ----------
    ITU-R BS.1770-4 (2015), Annex 1: K-weighting (tables 1 and 2) and gating (equations 2 to 7).

    Examples
    --------
    >>> x = np.sin(2 * np.pi * 997 * np.arange(48_000) / 48_000)
    >>> round(loudness(x, 48_000), 2), round(loudness(x / 10, 48_000), 2)
    (-3.01, -23.01)
    """
    x = np.atleast_2d(require_signal("x", x)).astype(np.float64)
    if x.ndim != 2:
        raise ShapeError(f"x must have shape (N,) or (channels, N), got {x.shape}")
    weighted = sosfilt(k_weighting(sr), x)  # (channels, N)
    power = (weighted**2).sum(axis=0)  # (N,)
    block = min(round(0.4 * sr), len(power))
    starts = np.arange(0, len(power) - block + 1, round(0.1 * sr))
    energy = np.concatenate([[0.0], np.cumsum(power)])  # (N + 1,)
    z = (energy[starts + block] - energy[starts]) / block  # (blocks,)
    z = z[z > 10 ** ((-70 - OFFSET) / 10)]
    if len(z) == 0:
        return -math.inf
    z = z[z > 0.1 * z.mean()]
    return OFFSET + 10 * math.log10(z.mean())


def k_weighting(sr):
    """Return the two filters of BS.1770 as second-order sections, for any sampling rate.

    The standard gives coefficients for 48 kHz only. They are the bilinear transform, with
    k = tan(pi f / sr), of an analogue shelf and high-pass with the constants below, which
    therefore give the same filters at every rate. Only the numerator 1, -2, 1 of the high-pass is
    that of the table at every rate (as in libebur128): up to 1 kHz that makes 0.1 dB more at a rate
    of 16 kHz, and 0.22 dB more at 8 kHz.

    Parameters
    ----------
    sr : sampling rate in Hz, at least 4000: the shelf at 1682 Hz has to lie below sr / 2

    Returns
    -------
    (2, 6) rows b0, b1, b2, 1, a1, a2: the shelf, then the high-pass
    """
    require_positive_integer("sr", sr)
    if sr < 4000:
        raise ConfigError(f"sr must be at least 4000 Hz for the filters of loudness, got {sr}")
    k, q, gain = math.tan(math.pi * 1681.974450955533 / sr), 0.7071752369554196, 1.584864701130855
    middle = gain**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (gain + middle * k / q + k * k) / a0,
        2 * (k * k - gain) / a0,
        (gain - middle * k / q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    k, q = math.tan(math.pi * 38.13547087602444 / sr), 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, high_pass])
