"""Levels: how loud is it, in what unit, and how to mix speech and noise at a stated ratio.

The ear hears ratios, so levels are logarithms of power ratios, in decibels:

    L = 10 log10(P / P_ref)                  powers      power_to_db
      = 20 log10(A / A_ref), P = A^2         amplitudes  amplitude_to_db

Twice the amplitude is +6.02 dB, ten times is +20 dB. The level of a sound that varies is that of
its root mean square, the constant that would carry the same power:

    rms = sqrt( 1/N sum_n x[n]^2 )

Speech pauses. Its RMS over a whole recording falls with every second of silence between the
sentences although nobody spoke more softly, so the same stated signal-to-noise ratio would mean
more noise in one recording than in another. The levels of speech here are therefore *active*
levels: the RMS over those samples where somebody speaks.

Legend: N samples, T frames, F bins; x, y waveforms (..., N); S powers or amplitudes of any shape.
"""

import math

import numpy as np
from scipy.signal import lfilter

from scratchaudio.dsp.stft import PAD_MODES, frame
from scratchaudio.errors import ConfigError, ShapeError, require_positive_integer, require_signal

# Level over time ------------------------------------------------------------------------------


def rms(*, y=None, S=None, frame_length=2048, hop_length=512, center=True, pad_mode="constant"):
    """Root mean square of each frame, of a waveform or of a magnitude spectrogram.

        rms[t] = sqrt( 1/N sum_n y[t hop + n]^2 )

    From a spectrogram the same by Parseval: sum_n y[n]^2 = 1/N sum_k |Y[k]|^2 over all N bins, of
    which the F = 1 + N//2 bins stored stand for two each (k and N - k) except k = 0 and N/2. The
    power found is that of the *windowed* frame, hence lower than the waveform's.

    Parameters
    ----------
    y : (..., N) waveform, or None
    S : (..., F, T) magnitude spectrogram, or None
    frame_length : N, samples a frame; for S the n_fft it was made with
    hop_length : samples from one frame to the next; for y only
    center : pad y by frame_length // 2 on both sides, so that frame t is centred at t * hop_length
    pad_mode : how to pad: "constant" (zeros), "edge", "reflect", ...: `stft.PAD_MODES`

    Returns
    -------
    (..., 1, T) the values, in the dtype that came in (librosa: always float32)

    Examples
    --------
    >>> x = np.ones(4096)
    >>> rms(y=x, frame_length=1024, hop_length=1024, center=False)
    array([[1., 1., 1., 1.]])
    """
    require_positive_integer("frame_length", frame_length)
    if (y is None) == (S is None):
        raise ConfigError("give rms exactly one of y (a waveform) and S (a magnitude spectrogram)")
    if S is not None:
        return _rms_of_spectrogram(np.asarray(S), frame_length)

    y = require_signal("y", y)
    if center:
        if pad_mode not in PAD_MODES:
            raise ConfigError(f"pad_mode must be one of {', '.join(PAD_MODES)}; got {pad_mode!r}")
        y = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(frame_length // 2,) * 2], mode=pad_mode)
    frames = frame(y, frame_length=frame_length, hop_length=hop_length)  # (..., frame_length, T)
    power = np.einsum("...nt,...nt->...t", frames, frames) / frame_length  # copies no frame
    return np.sqrt(power)[..., None, :]  # (..., 1, T)


def _rms_of_spectrogram(S, frame_length):
    if S.ndim < 2 or S.shape[-2] != frame_length // 2 + 1:
        raise ShapeError(
            f"S must be (..., F, T) with F = 1 + frame_length // 2 = {frame_length // 2 + 1} bins "
            f"for frame_length={frame_length}, got shape {S.shape}"
        )
    power = np.square(np.abs(require_signal("S", np.abs(S))))  # (..., F, T)
    twice = np.full((S.shape[-2], 1), 2, power.dtype)  # bin k also stands for bin N - k
    twice[0] = 1
    if frame_length % 2 == 0:
        twice[-1] = 1
    return np.sqrt((twice * power).sum(axis=-2, keepdims=True)) / frame_length


# Decibels -------------------------------------------------------------------------------------


def power_to_db(S, *, ref=1.0, amin=1e-10, top_db=80.0):
    """Powers to decibels: 10 log10(S / ref), floored twice.

    `amin` keeps the logarithm of silence finite: powers below it count as `amin`. `top_db` then
    raises everything to at least (loudest value - top_db), since what lies 80 dB below the
    loudest is not heard and would only stretch the colours of a picture. That floor depends on
    the loudest moment of the whole array: features for a detector that must give the same for a
    part as for the whole need `top_db=None`.

    Parameters
    ----------
    S : (...) powers, not negative; or one number
    ref : power that shall be 0 dB, or a function that finds it in S (such as `np.max`)
    amin : smallest power told apart, > 0
    top_db : range kept below the maximum, dB >= 0, or None

    Returns
    -------
    (...) decibels

    Examples
    --------
    >>> power_to_db(np.array([1.0, 0.1, 0.0]))
    array([  0., -10., -80.])
    >>> power_to_db(np.array([1.0, 0.1, 0.0]), top_db=None)
    array([   0.,  -10., -100.])
    """
    S = _require_finite("S", S)
    if S.min() < 0:
        raise ShapeError(f"S must hold powers, which are not negative, but its least is {S.min()}")
    if not amin > 0:
        raise ConfigError(f"amin must be greater than 0, got {amin!r}")
    if top_db is not None and not top_db >= 0:
        raise ConfigError(f"top_db must be None or at least 0 dB, got {top_db!r}")

    reference = ref(S) if callable(ref) else np.abs(ref)
    db = 10.0 * np.log10(np.maximum(float(amin), S))
    db -= 10.0 * np.log10(np.maximum(float(amin), reference))
    return db if top_db is None else np.maximum(db, db.max() - float(top_db))


def amplitude_to_db(S, *, ref=1.0, amin=1e-5, top_db=80.0):
    """Amplitudes to decibels: 20 log10(|S| / ref), floored as in `power_to_db`.

    Parameters
    ----------
    S : (...) amplitudes; the sign is dropped
    ref : amplitude that shall be 0 dB, or a function that finds it in |S| (such as `np.max`)
    amin : smallest amplitude told apart, > 0
    top_db : range kept below the maximum, dB >= 0, or None

    Returns
    -------
    (...) decibels

    Examples
    --------
    >>> amplitude_to_db(np.array([1.0, 0.1, 0.0]))
    array([  0., -20., -80.])
    """
    magnitude = np.abs(_require_finite("S", S))
    if not amin > 0:
        raise ConfigError(f"amin must be greater than 0, got {amin!r}")
    reference = ref(magnitude) if callable(ref) else np.abs(ref)
    return power_to_db(np.square(magnitude), ref=reference**2, amin=amin**2, top_db=top_db)


def db_to_power(S_db, *, ref=1.0):
    """Decibels to powers, the inverse of `power_to_db`: ref * 10^(S_db / 10).

    Parameters
    ----------
    S_db : (...) decibels
    ref : the power of 0 dB

    Returns
    -------
    (...) powers

    Examples
    --------
    >>> db_to_power(np.array([0.0, 20.0]))
    array([  1., 100.])
    """
    S_db = _require_finite("S_db", S_db)
    with np.errstate(over="ignore"):
        power = ref * np.power(10.0, S_db * 0.1)
    if not np.isfinite(power).all():
        raise ShapeError(f"S_db reaches {S_db.max()} dB, more than {power.dtype} can hold")
    return power


def db_to_amplitude(S_db, *, ref=1.0):
    """Decibels to amplitudes, the inverse of `amplitude_to_db`: ref * 10^(S_db / 20).

    Parameters
    ----------
    S_db : (...) decibels
    ref : the amplitude of 0 dB

    Returns
    -------
    (...) amplitudes

    Examples
    --------
    >>> db_to_amplitude(np.array([0.0, 20.0]))
    array([ 1., 10.])
    """
    return db_to_power(S_db, ref=ref**2) ** 0.5


def _require_finite(name, S):
    """Return S as a real float array of any shape, a single number included."""
    S = np.asarray(S)
    if np.iscomplexobj(S):
        raise ShapeError(f"{name} is complex; pass its magnitude np.abs({name}), squared for power")
    if not np.issubdtype(S.dtype, np.floating):
        S = S.astype(np.float64)
    require_signal(name, S.reshape(-1))
    return S


# Pre-emphasis ---------------------------------------------------------------------------------


def preemphasis(y, *, coef=0.97, zi=None, return_zf=False):
    """Lift the treble of a waveform by a first difference.

        out[n] = y[n] - coef * y[n - 1]

    Voiced speech falls by about 6 dB per octave; this rises by as much, so that the formants
    weigh alike in what follows. The gain goes from 1 - coef at 0 Hz to 1 + coef at sr / 2.

    The sample before the first does not exist. Like librosa, out[0] = y[0] + zi with
    zi = 2 y[0] - y[1] unless given (a common other choice is out[0] = y[0], that is zi = 0).

    Parameters
    ----------
    y : (..., N) waveform
    coef : weight of the sample before; 0 changes nothing
    zi : (..., 1) or number, what the sample before the first adds to out[0], that is
        -coef * y[-1] of the block before: the `zf` of the call before
    return_zf : also return the state for the next block

    Returns
    -------
    (..., N) waveform; with return_zf a pair (waveform, (..., 1) state)

    Examples
    --------
    >>> preemphasis(np.array([1.0, 1.0, 1.0]), coef=0.5)
    array([2. , 0.5, 0.5])
    """
    y = require_signal("y", y)
    first = y[..., :1]
    if zi is None:
        zi = 2 * first - y[..., 1:2] if y.shape[-1] > 1 else first
    out = y.copy()
    out[..., :1] += zi
    out[..., 1:] -= float(coef) * y[..., :-1]
    return (out, -float(coef) * y[..., -1:]) if return_zf else out


def deemphasis(y, *, coef=0.97, zi=None, return_zf=False):
    """Undo `preemphasis` by the recursion that inverts it.

        out[n] = y[n] + coef * out[n - 1]

    Without `zi` the default start of `preemphasis` is undone: from y[0] = 3 x[0] - x[1] and
    y[1] = x[1] - coef x[0] follows x[0] = (y[0] + y[1]) / (3 - coef).

    Parameters
    ----------
    y : (..., N) waveform
    coef : the one given to `preemphasis`
    zi : (..., 1) or number, added to out[0]: the `zf` of the block before, that is
        coef * out[-1]; to undo `preemphasis(x, zi=z)` give -z
    return_zf : also return the state for the next block

    Returns
    -------
    (..., N) waveform; with return_zf a pair (waveform, (..., 1) state)

    Examples
    --------
    >>> deemphasis(np.array([2.0, 0.5, 0.5]), coef=0.5)
    array([1., 1., 1.])
    """
    y = require_signal("y", y)
    first = y[..., :1]
    if zi is None:
        undone = (first + y[..., 1:2]) / (3 - float(coef)) if y.shape[-1] > 1 else first / 2
        zi = undone - first
    zi = np.broadcast_to(np.asarray(zi, y.dtype), first.shape)
    feedback = np.array([1, -coef], y.dtype)
    out, zf = lfilter(np.ones(1, y.dtype), feedback, y, zi=zi)
    return (out, zf) if return_zf else out


# Speech and noise -----------------------------------------------------------------------------


def active_mask(x, *, frame_length=256, range_db=35.0):
    """Which samples of a clean recording are speech rather than pause, by energy.

    The power of each frame is compared with the level of the loud syllables: active is what lies
    at most 35 dB below the 95th percentile of the frames. A percentile and not the maximum, so
    that one click does not decide; 35 dB, because weak consonants lie some 30 dB below stressed
    vowels while breath and the hiss of a quiet recording lie lower. Frames 60 dB below the
    loudest are left out of the percentile: else a recording that is silent for 19 seconds of 20
    would take its silence for the level of its speech.

    Only for recordings clean enough that pauses are 35 dB softer than speech.

    Parameters
    ----------
    x : (..., N) waveform; channels are judged together
    frame_length : samples judged at once; the last frame may be shorter
    range_db : how far below the 95th percentile a frame still counts, dB

    Returns
    -------
    (N,) booleans, all False for silence

    Examples
    --------
    >>> active_mask(np.repeat([0.5, 0.0, 0.1], 4), frame_length=4).astype(int)
    array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1])
    """
    x = require_signal("x", x)
    require_positive_integer("frame_length", frame_length)
    N = x.shape[-1]
    power = np.square(x, dtype=np.float64).reshape(-1, N).mean(axis=0)  # (N,)
    starts = np.arange(0, N, frame_length)
    lengths = np.diff(starts, append=N)
    power = np.add.reduceat(power, starts) / lengths  # (T,)
    audible = power[power > 1e-6 * power.max()]
    if audible.size == 0:
        return np.zeros(N, bool)
    threshold = np.percentile(audible, 95) * 10 ** (-range_db / 10)
    return np.repeat(power >= threshold, lengths)  # (N,)


def active_level(x, active=None):
    """RMS of a waveform over its active samples only: the level of the speech, not of the pauses.

        level = sqrt( sum over active n of x[n]^2 / number of active n )

    Parameters
    ----------
    x : (..., N) waveform
    active : which samples count: (N,) booleans, or (S, 2) integers, the start and end (one past
        the last) of S segments in samples; None: those of `active_mask`

    Returns
    -------
    float, the level; 20 log10 of it is dB relative to full scale

    References
    ----------
    ITU-T P.56 (2011), Objective measurement of active speech level, does the same by a smoothed
    envelope with a hangover; this is its idea in one step.

    Examples
    --------
    >>> active_level(np.array([0.0, 3.0, -3.0, 0.0]), active=np.array([[1, 3]]))
    3.0
    """
    x = require_signal("x", x)
    active = active_mask(x) if active is None else _require_active(active, x.shape[-1])
    level = math.sqrt(np.square(x[..., active], dtype=np.float64).mean()) if active.any() else 0.0
    if level == 0:
        raise ShapeError(
            f"x is silent where it should be active ({int(active.sum())} of {active.size} samples "
            f"are marked active): it has no active level"
        )
    return level


def snr(clean, noise, active=None):
    """Signal-to-noise ratio of active speech to noise, in dB.

        SNR = 10 log10( active_level(clean)^2 / mean(noise^2) )

    The speech is measured where it is active, the noise over its whole length: so the noise of a
    stated SNR is equally loud whether the speaker pauses much or little, and wherever its
    loud moments happen to fall. (How good an estimate is, over all samples: `metrics.snr`.)

    Parameters
    ----------
    clean : (..., N) speech alone
    noise : (..., N) noise alone, that is mixture - clean
    active : as in `active_level`; all True gives the ratio of the total energies

    Returns
    -------
    float, dB

    Examples
    --------
    >>> snr(np.full(8, 1.0), np.full(8, 0.1))
    20.0
    """
    clean, noise = _require_pair(clean, noise)
    noise_level = math.sqrt(np.square(noise, dtype=np.float64).mean())
    if noise_level == 0:
        raise ShapeError("noise is silent: its signal-to-noise ratio is infinite")
    return 20 * math.log10(active_level(clean, active) / noise_level)


def mix_at_snr(clean, noise, snr_db, active=None):
    """Add noise to speech at a stated signal-to-noise ratio over the active speech.

        mixture = clean + gain * noise,    gain = 10^((snr(clean, noise) - snr_db) / 20)

    The speech keeps its level; only the noise is scaled. Nothing is clipped: a loud mixture may
    exceed 1.

    Parameters
    ----------
    clean : (..., N) speech alone
    noise : (..., N) noise of any level
    snr_db : the ratio wanted, dB, between -200 and 200
    active : as in `active_level`

    Returns
    -------
    mixture : (..., N) in the dtype of clean
    noise : (..., N) the noise as it was scaled: mixture = clean + noise

    Examples
    --------
    >>> clean, noise = np.full(8, 1.0), np.tile([1.0, -1.0], 4)
    >>> mixture, scaled = mix_at_snr(clean, noise, 20)
    >>> mixture[:2]
    array([1.1, 0.9])
    """
    clean, noise = _require_pair(clean, noise)
    if not -200 <= snr_db <= 200:
        raise ConfigError(f"snr_db must be between -200 and 200 decibels, got {snr_db!r}")
    gain = 10 ** ((snr(clean, noise, active) - float(snr_db)) / 20)
    noise = gain * noise.astype(clean.dtype, copy=False)
    return clean + noise, noise


def _require_pair(clean, noise):
    """Return both as arrays, of one shape."""
    clean, noise = require_signal("clean", clean), require_signal("noise", noise)
    if clean.shape != noise.shape:
        raise ShapeError(
            f"clean and noise must have one shape, got {clean.shape} and {noise.shape}; "
            f"cut or repeat the noise first"
        )
    return clean, noise


def _require_active(active, N):
    """Return the samples that count as (N,) booleans, from a mask or from segments."""
    active = np.asarray(active)
    if active.dtype == bool:
        if active.shape != (N,):
            raise ShapeError(f"active must have shape ({N},) like x, got {active.shape}")
        return active
    if not np.issubdtype(active.dtype, np.integer) or active.ndim != 2 or active.shape[1] != 2:
        raise ShapeError(
            f"active must be (N,) booleans or (S, 2) integers, start and end in samples (seconds "
            f"times sr, rounded); got shape {active.shape}, dtype {active.dtype}"
        )
    mask = np.zeros(N, bool)
    for start, end in active.tolist():
        if not 0 <= start < end <= N:
            raise ShapeError(f"active segment ({start}, {end}) does not lie within 0 to {N}")
        mask[start:end] = True
    return mask
