"""Speech enhancement before neural networks: learn the noise from the recording, turn it down.

The noisy STFT is X = S + N, speech plus noise. Neither is known. Yet speech comes and goes within
a fraction of a second in every bin, while noise stays, and this is all the classical methods use:

    noise     N_hat = what |X|^2 never falls below, over some seconds             noise_power
    gain      small where |X|^2 is about N_hat, 1 where it is far above           two ways, below
    estimate  istft(gain * X), with the phase of the noisy recording              denoise

Spectral subtraction takes the noise away from the power, gain^2 = 1 - N_hat / |X|^2. But N_hat is
an average and |X|^2 scatters about it, by 5.6 dB for Gaussian noise. Where it happens to lie above,
something is left over: single bins in single frames, heard as short tones at random pitches, the
"musical noise". Subtracting several times N_hat removes most of it, together with soft speech; a
floor under the gain hides the rest in a remainder of the true noise.

The Wiener filter asks for the signal-to-noise ratio of the speech before noise came to it,

    gain = xi / (1 + xi),    xi = E|S|^2 / E|N|^2    the a-priori SNR

the gain of the least mean square error. The decision-directed rule estimates xi mostly from what
the frame before was decided to be. In noise alone xi is then a smooth, low curve, and the musical
noise is gone; when speech begins, a large |X|^2 lifts it at once.

What follows: a steady tone, hum or held note is noise to these methods; and noise that comes and
goes as fast as speech does (voices, clicks) passes as speech.

Legend: F bins, T frames; power |X|^2 (..., F, T), noise N_hat likewise; gains (..., F, T).
"""

import math

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.special import gammaincinv

from scratchaudio.dsp.stft import istft, stft
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

# How much |X|^2 of one bin of Gaussian noise resembles that of 1 and 2 frames later: the square of
# the correlation of a Hann window with itself, a quarter and a half of its length away.
POWER_CORRELATION = (0.435, 0.028)

# The settings below were chosen by the SI-SDR of denoise on sounds/vad/validation in 13 kinds of
# noise at 0, 10 and 20 dB, with one eye on speech without pauses. A smoothing of 0.2 s gives 0.3 dB
# more at 0 dB; but it bridges the gaps between syllables, so that speech without pauses counts as
# noise: at 20 dB it then loses 1.2 dB where 0.1 s gains 2.3. An alpha of 0.98, the value of the
# paper, gives 0.04 dB less on average than 0.97, and xi_min from -15 to -30 dB all the same. An
# over-subtraction of 4 to 6 and a floor of 0.03 to 0.05 lie within 0.3 dB of each other.

# What is noise ----------------------------------------------------------------------------------


def noise_power(power, *, frame_rate=125.0, window=2.5, smoothing=0.1):
    """The power of the noise in each bin and frame, from the noisy recording alone.

    Minimum statistics: within a few seconds every bin is free of speech at some moment, even
    while somebody speaks without a pause, since syllables end and harmonics move. So smooth the
    power over a syllable and take the least value of the surroundings:

        P[t] = mean of power over `smoothing` seconds around t
        noise[t] = bias * min of P over `window` seconds around t

    The least of many values lies below their mean; `bias`, computed in `_minimum_bias`, makes up
    for it. The surroundings reach both ways, so a rise of the noise is followed after half a
    window (a tracker that must not look ahead needs a whole one) and a fall is felt half a window
    early. Near the ends of the recording they are the first and last `window` seconds.

    Parameters
    ----------
    power : (..., F, T) |X|^2, from a Hann window with a hop of a quarter (the bias supposes it)
    frame_rate : frames in a second, sr / hop_length
    window : seconds searched for the minimum; must outlast any stretch without a gap in a bin
    smoothing : seconds averaged before

    Returns
    -------
    (..., F, T) the mean power of the noise

    References
    ----------
    Martin (2001), Noise power spectral density estimation based on optimal smoothing and minimum
    statistics, IEEE Trans. Speech and Audio Processing 9(5). There the smoothing adapts itself and
    looks at the past only.

    Examples
    --------
    >>> noise = np.random.default_rng(0).exponential(size=(257, 1000))  # its mean is 1
    >>> power = noise + np.tile([0.0] * 50 + [50.0] * 50, 10)  # and a syllable now and then
    >>> bool(1 <= noise_power(power).mean() <= 2)  # not 26, the mean of all
    True
    """
    power = _require_powers("power", power)
    for name, value in [
        ("frame_rate", frame_rate),
        ("window", window),
        ("smoothing", smoothing),
    ]:
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} must be greater than 0 and finite, got {value!r}")
    T = power.shape[-1]
    n_smooth = min(T, max(1, round(smoothing * frame_rate)))
    n_window = min(T, max(1, round(window * frame_rate)))

    smooth = uniform_filter1d(power, n_smooth, axis=-1, mode="reflect")
    lowest = minimum_filter1d(smooth, n_window, axis=-1)
    # Kept are the windows that lie inside the recording; the first and last serve to its ends.
    before, after = n_window // 2, (n_window - 1) // 2
    lowest = lowest[..., before : T - after]
    lowest = np.pad(lowest, [(0, 0)] * (power.ndim - 1) + [(before, after)], mode="edge")
    return np.maximum(lowest, 0) * _minimum_bias(n_smooth, n_window)


def _minimum_bias(n_smooth, n_window):
    """By how much the mean of smoothed noise power exceeds its minimum over n_window frames.

    One |X|^2 of Gaussian noise has an exponential distribution; the mean of K independent ones has
    a gamma distribution of shape K. Overlapping frames are not independent, so the shape k is less:
    the one with the same variance. The least of n values lies near the 1/n quantile. How many
    values the minimum over W frames of a running mean amounts to was measured on white noise:
    n = 2 + (W - 1) / sqrt(K) gives the bias within 0.7 dB for K from 4 to 37 and W up to 400.
    """
    K, W = n_smooth, n_window
    overlap = sum(max(K - lag, 0) * rho for lag, rho in enumerate(POWER_CORRELATION, start=1))
    k = K**2 / (K + 2 * overlap)
    n = 2 + (W - 1) / math.sqrt(K)
    return float(k / gammaincinv(k, 1 / n))


# How much to turn down --------------------------------------------------------------------------


def spectral_subtraction(power, noise, *, over_subtraction=5.0, floor=0.05):
    """Gains of spectral subtraction: take the noise's power away, but leave a floor.

        gain = max( sqrt( max(power - over_subtraction * noise, 0) / power ), floor )

    Parameters
    ----------
    power : (..., F, T) |X|^2
    noise : its noise, `noise_power(power)`; or (..., F, 1) for one spectrum known beforehand
    over_subtraction : at least 0; 1 is plain subtraction, with all its musical noise
    floor : the least gain, 0 to 1; 0.05 is -26 dB

    Returns
    -------
    (..., F, T) gains between floor and 1, to multiply X by

    References
    ----------
    Boll (1979), Suppression of acoustic noise in speech using spectral subtraction, IEEE Trans.
    ASSP 27(2); Berouti, Schwartz & Makhoul (1979), Enhancement of speech corrupted by acoustic
    noise, ICASSP, eq. 4: powers, over-subtraction and floor. Theirs is a part of the noise's
    level, ours a part of the noisy signal.

    Examples
    --------
    >>> spectral_subtraction(np.array([[100.0, 6.0, 1.0]]), np.array([[1.0]])).round(2)
    array([[0.97, 0.41, 0.05]])
    """
    power, noise = _require_power_and_noise(power, noise)
    if not 0 <= over_subtraction < math.inf:
        raise ConfigError(f"over_subtraction must be finite, at least 0, got {over_subtraction!r}")
    if not 0 <= floor <= 1:
        raise ConfigError(f"floor must lie between 0 and 1, got {floor!r}")
    left = np.maximum(power - float(over_subtraction) * noise, 0)
    share = np.divide(left, power, out=np.zeros_like(power), where=power > 0)
    return np.maximum(np.sqrt(share), float(floor))


def wiener_decision_directed(power, noise, *, alpha=0.97, xi_min_db=-20.0):
    """Gains of the Wiener filter with the a-priori SNR of Ephraim and Malah.

        xi = alpha * |S_before|^2 / noise + (1 - alpha) * max(power / noise - 1, 0)
        gain = xi / (1 + xi),    |S|^2 = gain^2 * power

    where S_before is the estimate of the same bin in the frame before. With the speech's power
    s = xi * noise this is gain = s / (s + noise), which needs no division by a noise of 0.

    Parameters
    ----------
    power : (..., F, T) |X|^2
    noise : its noise, `noise_power(power)`; or (..., F, 1) for one spectrum known beforehand
    alpha : 0 to 1 exclusive, how much the frame before counts; made for a hop of 8 ms
    xi_min_db : the least a-priori SNR, dB; -20 keeps the gain above 0.0099, -40 dB

    Returns
    -------
    (..., F, T) gains between xi_min / (1 + xi_min) and 1, to multiply X by; 1 where power and
    noise are both 0

    References
    ----------
    Ephraim & Malah (1984), Speech enhancement using a minimum mean-square error short-time spectral
    amplitude estimator, IEEE Trans. ASSP 32(6), eq. 51; the Wiener gain and the least xi as in
    Scalart & Filho (1996), Speech enhancement based on a priori signal to noise estimation, ICASSP.

    Examples
    --------
    >>> power = np.array([[1.0, 1.0, 100.0, 100.0, 100.0]])  # speech begins in the third frame
    >>> wiener_decision_directed(power, np.array([[1.0]])).round(2)
    array([[0.01, 0.01, 0.75, 0.98, 0.99]])
    """
    power, noise = _require_power_and_noise(power, noise)
    if not 0 <= alpha < 1:
        raise ConfigError(f"alpha must be at least 0 and less than 1, got {alpha!r}")
    if not -200 <= xi_min_db <= 200:
        raise ConfigError(f"xi_min_db must be between -200 and 200 decibels, got {xi_min_db!r}")
    alpha, xi_min = float(alpha), 10 ** (float(xi_min_db) / 10)
    excess = np.maximum(power - noise, 0)
    gains = np.ones_like(power)
    before = excess[..., 0]  # as if the first frame had come before itself
    for t in range(power.shape[-1]):
        speech = alpha * before + (1 - alpha) * excess[..., t]  # (..., F)
        speech = np.maximum(speech, xi_min * noise[..., t])
        total = speech + noise[..., t]
        np.divide(speech, total, out=gains[..., t], where=total > 0)
        before = np.square(gains[..., t]) * power[..., t]
    return gains


# From recording to recording --------------------------------------------------------------------

METHODS = {"wiener": wiener_decision_directed, "subtraction": spectral_subtraction}


def denoise(x, sr, *, method="wiener", n_fft=None, hop_length=None):
    """Turn down the noise of a recording of speech, without any training.

    The whole recording is in memory as a spectrogram, some 120 MB a minute at 16 kHz. What is
    shorter than the 2.5 s searched for pauses holds little to tell noise from speech by: a
    recording of one vowel is all noise.

    Parameters
    ----------
    x : (..., N) noisy waveform, channels each by themselves
    sr : sampling rate in Hz
    method : "wiener" or "subtraction"
    n_fft : samples in a frame; None for 32 ms: vowels are steady that long, and harmonics apart
    hop_length : samples from one frame to the next; None for n_fft // 4

    Returns
    -------
    (..., N) the estimate of the speech, in the dtype of x

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(32_000)
    >>> bool(denoise(noise, 16_000).std() <= 0.1)
    True
    """
    x = require_signal("x", x)
    require_positive_integer("sr", sr)
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    n_fft = max(8, 4 * round(0.008 * sr)) if n_fft is None else n_fft
    require_positive_integer("n_fft", n_fft)
    hop_length = max(1, n_fft // 4) if hop_length is None else hop_length
    require_positive_integer("hop_length", hop_length)

    # Squares of very soft or loud samples leave the range of their dtype; those of 1 do not.
    peak = np.abs(x).max() or 1.0
    settings = {"n_fft": n_fft, "hop_length": hop_length}
    # Mirrored, since zeros beyond the ends would pass for a pause without noise.
    X = stft((x / peak).astype(np.float64), **settings, pad_mode="reflect")
    power = np.square(np.abs(X))
    gains = METHODS[method](power, noise_power(power, frame_rate=sr / hop_length))
    y = istft(gains * X, **settings, length=x.shape[-1])
    return (peak * y).astype(x.dtype)


def _require_power_and_noise(power, noise):
    """Return both as arrays (..., F, T); a noise of one frame serves to all frames."""
    power, noise = _require_powers("power", power), _require_powers("noise", noise)
    try:
        return power, np.broadcast_to(noise, power.shape).astype(power.dtype, copy=False)
    except ValueError:
        raise ShapeError(
            f"noise must have the shape of power, {power.shape}, or one frame only, "
            f"{(*power.shape[:-1], 1)}; got {noise.shape}"
        ) from None


def _require_powers(name, S):
    """Return S as an array (..., F, T) of finite powers, which are not negative."""
    S = require_signal(name, S)
    if S.ndim < 2:
        raise ShapeError(f"{name} must have shape (..., F, T), got {S.shape}")
    if S.min() < 0:
        raise ShapeError(f"{name} must hold powers |X|^2, not negative, but its least is {S.min()}")
    return S
