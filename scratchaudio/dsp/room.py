"""Rooms and lines: what happens to a voice between the mouth and the recording.

A room answers a clap with three things, and everything sounded in it with their sum, since walls
act linearly and stay where they are: the sound heard is the dry sound convolved with the answer.

    h[0] = 1                        the direct path
    early reflections               a few single echoes within the first 80 ms
    diffuse tail                    so many echoes that only their envelope can be told

The sound loses a fixed share of its power at every wall, hence decays exponentially. The
reverberation time rt60 is how long it takes for 60 dB, a factor of 1000 in amplitude:

    envelope(t) = 10^(-3 t / rt60)

Walls and air swallow treble first, so the tail is made in bands that decay the sooner the higher
they lie. The direct-to-reverberant ratio is 10 log10(1 / sum over n > 0 of h[n]^2): the farther the
speaker, the lower, while the tail stays as it is. Nothing here moves the direct path in time, so
labels of who speaks when keep their times.

Legend: N samples, K taps, h impulse response, f Hz, t s.
"""

import math

import numpy as np
from scipy import fft
from scipy.signal import oaconvolve

from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

# (upper edge in Hz, rt60 there as a share of the rt60 asked for)
_BANDS = [(1000, 1.0), (2000, 0.95), (4000, 0.85), (math.inf, 0.7)]


def room_impulse_response(rt60, sr, rng=None, *, drr_db=5.0):
    """Make the impulse response of a room that never was, from random numbers.

        h = [1, 0, ...] + gain * (early + diffuse)

    with the gain that sets the direct-to-reverberant ratio. rt60 holds below 1 kHz and falls to
    70 % of that above 4 kHz; the tail is softer by 3 dB per octave from 500 Hz on.

    Parameters
    ----------
    rt60 : reverberation time, s, 0.05 to 10: car 0.1, living room 0.4, hall 1 to 2, church 5
    sr : sampling rate, Hz
    rng : seed or Generator
    drr_db : direct-to-reverberant ratio, dB: about 10 at arm's length, 0 across a table, -10 far

    Returns
    -------
    (K,) float32, K = ceil(rt60 * sr) + 1, with h[0] = 1

    References
    ----------
    Moorer (1979), About this reverberation business, Computer Music Journal 3(2): exponentially
    decaying noise sounds like the tail of a concert hall.

    Examples
    --------
    >>> h = room_impulse_response(0.5, 16000, rng=0)
    >>> h.shape, float(h[0])
    ((8001,), 1.0)
    """
    require_positive_integer("sr", sr)
    if not 0.05 <= rt60 <= 10:
        raise ConfigError(f"rt60 must be between 0.05 and 10 seconds, got {rt60!r}")
    if not -60 <= drr_db <= 60:
        raise ConfigError(f"drr_db must be between -60 and 60 decibels, got {drr_db!r}")
    rng = np.random.default_rng(rng)

    K = math.ceil(rt60 * sr) + 1
    t = np.arange(K) / sr
    reverberant = _diffuse_tail(rt60, sr, t, rng)
    # An echo carries the energy of 5 ms of the tail around it in one sample. The tail, whose power
    # falls with exp(-13.8 t / rt60), begins 13.8 times as strong as it is in the mean.
    echoes = np.unique((sr * rng.uniform(0.002, min(0.08, rt60), size=8)).astype(int))
    strength = np.sqrt(13.8 * np.square(reverberant).mean() * 0.005 * sr)
    signs = rng.choice([-1, 1], len(echoes))
    gains = signs * rng.uniform(0.3, 1, len(echoes)) * 10 ** (-3 * t[echoes] / rt60)
    reverberant[echoes] += strength * gains
    reverberant[0] = 0

    gain = 10 ** (-drr_db / 20) / np.sqrt(np.square(reverberant).sum())
    h = gain * reverberant
    h[0] = 1
    return h.astype(np.float32)


def _diffuse_tail(rt60, sr, t, rng):
    """Gaussian noise in bands, each under its own exponential envelope, faded in over 10 ms."""
    size = fft.next_fast_len(len(t), real=True)
    f = np.arange(size // 2 + 1) * (sr / size)
    spectrum = rng.standard_normal((2, len(f)))
    spectrum = (spectrum[0] + 1j * spectrum[1]) / np.sqrt(np.maximum(f / 500, 1))
    tail = np.zeros(len(t))
    low = 0
    for high, share in _BANDS:
        band = fft.irfft(np.where((f >= low) & (f < high), spectrum, 0), size)[: len(t)]
        tail += band * 10 ** (-3 * t / (share * rt60))
        low = high
    return tail * np.minimum(t / 0.01, 1)


def reverberate(x, ir):
    """Sound x in a room: convolve it with the room's impulse response.

        y[n] = sum_k ir[k] x[n - k]

    With the direct path at ir[0] the direct sound stays where it was. A measured response starts
    late: cut it first, `ir[np.abs(ir).argmax():]`. The tail beyond the last sample of x is cut.
    The convolution is done block by block with the FFT.

    Parameters
    ----------
    x : (..., N) dry waveform
    ir : (K,) impulse response at the same sampling rate, direct path first

    Returns
    -------
    (..., N) in the dtype of x

    Examples
    --------
    >>> reverberate(np.array([1.0, 0.0, 2.0]), np.array([1.0, 0.5])).round(6)
    array([1. , 0.5, 2. ])
    """
    x, ir = require_signal("x", x), require_signal("ir", ir)
    if ir.ndim != 1:
        raise ShapeError(f"ir must be one impulse response (K,), got shape {ir.shape}")
    ir = ir.reshape((1,) * (x.ndim - 1) + (-1,))  # (1, ..., K)
    y = oaconvolve(x, ir, axes=-1)  # (..., N + K - 1)
    return y[..., : x.shape[-1]].astype(x.dtype, copy=False)


def bandlimit(x, sr, low=300.0, high=3400.0):
    """Keep the band between low and high: with the defaults, an old telephone line.

    Multiplies the spectrum by the magnitude of a Butterworth band-pass of order 8, -3 dB at both
    edges and 48 dB per octave beyond:

        gain(f) = 1 / sqrt( (1 + (low / f)^16) (1 + (f / high)^16) )

    A real gain has no phase, so nothing is delayed.

    Parameters
    ----------
    x : (..., N) waveform
    sr : sampling rate, Hz
    low, high : edges of the band, Hz; 0 and sr / 2 leave that side open

    Returns
    -------
    (..., N) in the dtype of x

    Examples
    --------
    >>> t = np.arange(8000) / 8000
    >>> tones = np.sin(2 * np.pi * 1000 * t) + np.sin(2 * np.pi * 60 * t)
    >>> y = bandlimit(tones, 8000)
    >>> bool(np.abs(y - np.sin(2 * np.pi * 1000 * t))[1000:-1000].max() < 1e-3)
    True
    """
    x = require_signal("x", x)
    require_positive_integer("sr", sr)
    if not 0 <= low < high <= sr / 2:
        raise ConfigError(
            f"the band must satisfy 0 <= low < high <= sr / 2 = {sr / 2:g} Hz, "
            f"got low={low!r}, high={high!r}"
        )
    N = x.shape[-1]
    size = fft.next_fast_len(N + sr // 10, real=True)  # room for the ringing, lest it wraps round
    f = np.maximum(np.arange(size // 2 + 1) * (sr / size), 1e-3)
    gain = np.ones(len(f))
    if low > 0:
        gain /= np.sqrt(1 + (low / f) ** 16)
    if high < sr / 2:
        gain /= np.sqrt(1 + (f / high) ** 16)
    return fft.irfft(fft.rfft(x, size) * gain.astype(x.dtype), size)[..., :N]
