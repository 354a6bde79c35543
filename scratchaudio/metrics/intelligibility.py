"""How many words would a listener catch? STOI, the short-time objective intelligibility.

Energy ratios answer how much noise is left; whether speech is understood is another question. We
understand it by how each region of pitch swells and fades, syllable by syllable. STOI therefore
compares envelopes, a third of a second at a time, and asks how well they correlate:

    waveforms at 10 kHz             speech is understood by what lies below 5 kHz
      -> pauses out                 frames in which the reference is 40 dB below its loudest one
      -> |STFT|                     frames of 25.6 ms, half overlapping
      -> 15 bands a third octave    centred at 150 Hz, 189 Hz, 238 Hz, ..., 3.8 kHz, about as
         wide each                  finely as the ear tells frequencies apart
      -> segments of 30 frames      384 ms: long enough for the slowest modulations of speech
      -> correlation                of reference and estimate in each band and segment
      -> mean                       over all bands and segments: one number

Two envelopes x (reference) and y (estimate) of one band and segment, 30 numbers each, give

    y'  = min( y |x| / |y|,  (1 + 10^(15/20)) x )            level it, then clip it       eq. 3
    d   = <x - mean x, y' - mean y'> / (|x - mean x| |y' - mean y'|)                      eq. 5

The level is free, as it is to a listener. The clipping says that where the error lies 15 dB above
x, all is lost: still worse cannot pull d further down.

The score rises with the share of words understood, but is no percentage: what a score means must
be read off listening tests with the same kind of sentences. Nor is 0 its bottom: in the valleys
of x the clipping ties y' to x, so that noise which knows nothing of the speech has 0.36 in the
example below (0.06 without clipping). Compare scores with that of the untouched mixture.

Extended STOI also hears whether the spectrum has the right shape in each frame: rows (bands) and
then columns (frames) of a segment (15, 30) are centred and scaled to norm 1, and the columns of
reference and estimate are multiplied. No clipping. It predicts listeners better where the noise
itself comes and goes, as a competing voice does.

    N samples    T frames    J = 15 bands    M = T - 29 segments, one starting at every frame

Sources: Taal, Hendriks, Heusdens & Jensen (2011), An algorithm for intelligibility prediction of
time-frequency weighted noisy speech, IEEE TASLP 19(7); Jensen & Taal (2016), An algorithm for
predicting the intelligibility of speech masked by modulated noise maskers, IEEE/ACM TASLP 24(11).
"""

import math

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import resample_poly

from scratchaudio.dsp.stft import frame, overlap_add
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

SAMPLE_RATE = 10_000
FRAME, HOP, N_FFT = 256, 128, 512
WINDOW = np.hanning(FRAME + 2)[1:-1]  # without its two zeros
PAUSE_DB = -40
N_BANDS, LOWEST_CENTRE = 15, 150  # Hz
SEGMENT = 30  # frames
CLIP = 1 + 10 ** (15 / 20)
LOWEST_RATE = 8000  # below, nothing could be in the top band, 3.4 to 4.3 kHz
EPS = np.finfo(np.float64).eps
BLOCK = 64  # segments at a time: what is computed on the way stays in the cache


def stoi(reference, estimate, sr, *, extended=False):
    """Short-time objective intelligibility of an estimate, given the clean speech.

    Parameters
    ----------
    reference : (N,) clean speech
    estimate : (N,) noisy or enhanced speech, in time with the reference
    sr : samples a second, an integer of at least 8000; both are resampled to the paper's 10000
    extended : True for extended STOI (ESTOI)

    Returns
    -------
    float, 1 for a perfect estimate at any gain, 0 for a silent one

    Raises
    ------
    ShapeError
        if reference has fewer than 30 frames (0.41 s) left without its pauses. pystoi warns and
        returns 0.00001 then, a number that would pass unseen into an average

    References
    ----------
    Taal et al. (2011), sections II and III; Jensen & Taal (2016), section II.

    Examples
    --------
    Noise whose loudness swells and fades four times a second, and other noise on top:

    >>> rng, t = np.random.default_rng(0), np.arange(20000) / 10000
    >>> speech = rng.standard_normal(20000) * np.sin(4 * np.pi * t) ** 2
    >>> noise = rng.standard_normal(20000)
    >>> [round(stoi(speech, speech + gain * noise, 10000), 2) for gain in (0, 0.1, 0.5, 2)]
    [1.0, 0.99, 0.85, 0.45]
    >>> round(stoi(speech, noise, 10000), 2), round(stoi(speech, 0 * noise, 10000), 2)
    (0.36, 0.0)
    """
    x, y = _require_pair(reference, estimate, sr)
    x, y = _without_pauses(*_resample(np.stack([x, y]), sr))
    x, y = _band_envelopes(np.stack([x, y]))  # (J, T) each
    correlate = _extended_correlation if extended else _clipped_correlation
    x, y = (sliding_window_view(envelope, SEGMENT, axis=-1) for envelope in (x, y))  # (J, M, 30)
    M = x.shape[1]
    total = sum(
        correlate(x[:, start : start + BLOCK], y[:, start : start + BLOCK])
        for start in range(0, M, BLOCK)
    )
    return float(total / M)


# Waveforms to envelopes -----------------------------------------------------------------------


def _resample(x, sr):
    """To 10 kHz by the filter of Octave's `resample`, with which STOI's figures are published."""
    if sr == SAMPLE_RATE:
        return x
    divisor = math.gcd(SAMPLE_RATE, sr)
    up, down = SAMPLE_RATE // divisor, sr // divisor
    return resample_poly(x, up, down, axis=-1, window=_octave_kernel(max(up, down)))


def _octave_kernel(steps):
    """A sinc that cuts at half of the lower rate, faded by a Kaiser window for 60 dB.

    Time runs in steps of the common multiple of both rates, of which the lower one takes `steps`.
    """
    rejection_db = 60
    half = math.ceil((rejection_db - 8) / (28.714 / (20 * steps)))
    kernel = np.sinc(np.arange(-half, half + 1) / steps)
    kernel *= np.kaiser(2 * half + 1, 0.1102 * (rejection_db - 8.7))
    return kernel / kernel.sum()


def _without_pauses(x, y):
    """Both without the frames in which x is 40 dB below its loudest frame, and closed up."""
    if x.size <= FRAME:
        raise _too_short(0)
    frames = _windowed_frames(np.stack([x, y]))  # (2, T, 256)
    level = np.linalg.norm(frames[0], axis=-1)  # (T,)
    speech = level > 10 ** (PAUSE_DB / 20) * level.max()
    if speech.sum() <= SEGMENT:
        raise _too_short(max(0, speech.sum() - 1))
    return overlap_add(frames[:, speech].swapaxes(-1, -2), HOP)


def _band_envelopes(x):
    """Magnitude of each third of an octave in each frame, (..., N) -> (..., J, T); eq. 1."""
    X = scipy.fft.rfft(_windowed_frames(x), n=N_FFT)  # (..., T, F)
    power = X.real**2 + X.imag**2
    return np.sqrt(power @ _third_octaves().T).swapaxes(-1, -2)


def _windowed_frames(x):
    """Frames of a waveform, (..., N) -> (..., T, 256)."""
    # The published code begins no frame that would end with the last sample: hence [:-1].
    frames = frame(x[..., :-1], frame_length=FRAME, hop_length=HOP)
    return frames.swapaxes(-1, -2) * WINDOW


def _third_octaves():
    """Which bins belong to which band, (J, F) ones and zeros; each edge is the nearest bin."""
    edges = LOWEST_CENTRE * 2 ** ((2 * np.arange(N_BANDS + 1) - 1) / 6)  # Hz, centre * 2^(+-1/6)
    edges = np.rint(edges * N_FFT / SAMPLE_RATE).astype(int)
    bins = np.arange(1 + N_FFT // 2)
    return ((edges[:-1, None] <= bins) & (bins < edges[1:, None])).astype(np.float64)


# Segments to correlations ---------------------------------------------------------------------


def _clipped_correlation(x, y):
    """Mean over bands and sum over segments of the correlation in time; x, y (J, M, 30)."""
    y = y * (_norm(x) / (_norm(y) + EPS))  # eq. 3
    y = np.minimum(y, CLIP * x)
    return np.vdot(_standardise(x), _standardise(y)) / N_BANDS  # eq. 5


def _extended_correlation(x, y):
    """Mean over frames and sum over segments of the correlation of spectra; x, y (J, M, 30)."""
    x, y = (_standardise(_standardise(z), axis=0) for z in (x, y))
    return np.vdot(x, y) / SEGMENT


def _standardise(x, axis=-1):
    """Take out the mean and scale to norm 1; EPS leaves what is constant at 0."""
    x = x - x.mean(axis=axis, keepdims=True)
    x /= _norm(x, axis) + EPS
    return x


def _norm(x, axis=-1):
    return np.sqrt(np.vecdot(x, x, axis=axis, keepdims=True))


# Checks ---------------------------------------------------------------------------------------


def _require_pair(reference, estimate, sr):
    """Return both (N,) in float64 with a peak of 1: the measure is free of level, EPS is not."""
    reference = require_signal("reference", reference)
    estimate = require_signal("estimate", estimate)
    if reference.ndim != 1 or estimate.shape != reference.shape:
        raise ShapeError(
            f"reference and estimate must be one channel each, (N,), of one length, got shapes "
            f"{reference.shape} and {estimate.shape}"
        )
    require_positive_integer("sr", sr)
    if sr < LOWEST_RATE:
        raise ConfigError(
            f"sr must be at least {LOWEST_RATE} Hz, got {sr}: STOI listens up to 4.3 kHz"
        )
    if not reference.any():
        raise ShapeError("reference is silent: there is no speech to be understood")
    x, y = reference.astype(np.float64), estimate.astype(np.float64)
    return x / np.abs(x).max(), y / (np.abs(y).max() or 1)


def _too_short(T):
    return ShapeError(
        f"reference holds {T} frames of speech, STOI needs {SEGMENT} (0.41 s) that lie less than "
        f"{-PAUSE_DB} dB below the loudest; join recordings of the same kind or leave it out"
    )
