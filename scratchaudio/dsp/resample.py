"""Resampling: the same sound at another sampling rate.

Samples taken at rate sr determine every sound whose frequencies lie below sr / 2 at *all* times,
also between the samples (Whittaker, Shannon): place a sinc on each sample and add,

    x(t) = sum_k x[k] sinc(t - k),    sinc(t) = sin(pi t) / (pi t),    t in input samples

so the new samples are x(t) read at t = m * orig_sr / target_sr. Two things make that practical:

    finite        The sinc never ends. A Kaiser window cuts it after 64 zero crossings to each
                  side; the price is a transition band instead of an edge at sr / 2.
    anti-aliasing At a lower rate, frequencies above target_sr / 2 would come back as false low
                  ones. A sinc stretched by r = orig_sr / target_sr is a low-pass at just that
                  frequency, so the same kernel interpolates and removes them.

    h(t) = c sinc(c t) kaiser(s t / 64),    s = min(1, target_sr / orig_sr),    c = 0.95 s

Up to 90 % of the lower of the two half rates nothing changes (by 0.01 dB at most); above that
half rate all is 100 dB down. Beyond its ends the sound counts as silence.

Legend: N samples in, M samples out, k counts input, m counts output samples.
"""

import math

import numpy as np
from scipy.signal import resample_poly

from scratchaudio.errors import require_positive_integer, require_signal

_ZEROS = 64  # zero crossings on each side
_ROLLOFF = 0.95  # middle of the transition band, as a share of the lower half rate
_BETA = 10.06  # Kaiser's 0.1102 (A - 8.7) for A = 100 dB
_MAX_PHASES = 20_000


def resample(y, orig_sr, target_sr, *, axis=-1):
    """Change the sampling rate of a waveform; duration, pitch and level stay.

    The rates divided by their greatest common divisor are down : up. There are `up` different
    places where an output sample can lie between two input samples, so `up` sets of weights h(t)
    serve all of them: the polyphase filter of `scipy.signal.resample_poly`, given our kernel.
    44100 to 16000 Hz has 160 sets. Rates that share no divisor, such as 44100 and 44101, have as
    many sets as hertz: above 20000 the weights are instead read from a table of h(t), block by
    block of the output, which is slower but needs little memory for any rates.

    Parameters
    ----------
    y : (..., N) waveform
    orig_sr : its sampling rate, a whole number of Hz
    target_sr : the sampling rate wanted, a whole number of Hz
    axis : the axis of time

    Returns
    -------
    (..., M) with M = ceil(N * target_sr / orig_sr), in the dtype that came in

    References
    ----------
    Smith & Gossett (1984), A flexible sampling-rate conversion method, ICASSP.

    Examples
    --------
    >>> t = np.arange(44100) / 44100
    >>> x = resample(np.sin(2 * np.pi * 440 * t), 44100, 16000)
    >>> x.shape
    (16000,)
    >>> error = x - np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> bool(np.abs(error[200:-200]).max() < 1e-4)
    True
    """
    y = require_signal("y", y)
    require_positive_integer("orig_sr", orig_sr)
    require_positive_integer("target_sr", target_sr)
    if orig_sr == target_sr:
        return y.copy()
    divisor = math.gcd(orig_sr, target_sr)
    up, down = int(target_sr // divisor), int(orig_sr // divisor)
    if max(up, down) > _MAX_PHASES:
        return np.moveaxis(_by_table(np.moveaxis(y, axis, -1), up, down), -1, axis)
    half = _ZEROS * max(up, down)
    taps = _kernel(np.arange(-half, half + 1) / up, up, down)
    return resample_poly(y, up, down, axis=axis, window=(taps / up).astype(y.dtype))


def _kernel(t, up, down):
    """Windowed sinc h(t), t in input samples."""
    s = min(1.0, up / down)
    c = _ROLLOFF * s
    place = np.clip(s * t / _ZEROS, -1, 1)  # in the window: -1 and 1 are its ends
    return c * np.sinc(c * t) * np.i0(_BETA * np.sqrt(1 - place**2)) / np.i0(_BETA)


def _by_table(y, up, down):
    """Evaluate y[m] = sum_k x[k] h(m down / up - k), with h read from a fine table."""
    N = y.shape[-1]
    M = -(-N * up // down)
    reach = math.ceil(_ZEROS * max(1.0, down / up))  # where h ends, in input samples
    at = np.linspace(-reach, reach, 2 * _ZEROS * 2048 + 1)
    table = _kernel(at, up, down)
    table[np.abs(at) > _ZEROS * max(1.0, down / up)] = 0

    padded = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(reach, reach + 1)])
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=-1)
    offsets = np.arange(-reach, reach + 1)
    out = np.empty(y.shape[:-1] + (M,), y.dtype)
    block = max(1, 2**20 // len(offsets))
    for first in range(0, M, block):
        m = np.arange(first, min(first + block, M))
        k, numerator = np.divmod(m * down, up)  # exact: no rounding grows with m
        weights = np.interp(numerator[:, None] / up - offsets, at, table)  # (block, 2 reach + 1)
        weights = weights.astype(y.dtype)
        out[..., m] = np.einsum("...mt,mt->...m", neighbours[..., k, :], weights)
    return out
