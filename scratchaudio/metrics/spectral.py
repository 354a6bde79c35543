"""How far apart are two sounds in their spectra? The log-spectral distance, in decibels.

A waveform can be far from another and sound the same: turn the phase of each partial and SI-SDR
collapses while the ear hears little. The log-spectral distance looks at magnitudes only, on the
scale of the ear, decibels. In each frame the curve of one spectrum is laid over the other, and the
gap between them is averaged over the bins as a root mean square, then over the frames:

    D[k, t] = 20 log10 |S[k, t]| - 20 log10 |E[k, t]|
    LSD     = mean over t of sqrt( mean over k of D[k, t]^2 )

An estimate that is 3 dB too loud everywhere is 3 dB away. Noise fills the gaps between the
harmonics and the pauses, and there it counts for most: gaps are what a logarithm magnifies.

That is also its weakness. The logarithm of silence is minus infinity, so a reference with one
digitally silent frame would be infinitely far from everything, and a recording padded with
rounding noise some 200 dB. So both spectra are raised to one floor first, 80 dB below the loudest
bin of the REFERENCE:

    |S| <- max(|S|, c),  |E| <- max(|E|, c),       c = 10^(-80 / 20) max |S|

What lies deeper is masked by what lies 80 dB higher, or too soft to hear. The floor hangs on the
reference alone so that all methods in a table are measured against the same one; the distance is
therefore not quite symmetric: swapping the two moves the floor (unless their maxima are equal).

Legend: N samples, F bins, T frames; reference s, estimate e (..., N); S, E their STFTs (..., F, T).

Sources: Gray & Markel (1976), Distance measures for speech processing, IEEE Trans. ASSP 24(5),
section II; Rabiner & Juang (1993), Fundamentals of Speech Recognition, section 4.5.1. The floor is
ours.
"""

import math

import numpy as np

from scratchaudio.dsp.stft import stft
from scratchaudio.errors import ConfigError, ShapeError, require_signal


def log_spectral_distance(reference, estimate, *, n_fft=512, hop_length=128, floor_db=-80.0):
    """Root mean square gap between two spectra in dB, averaged over the frames.

        LSD = mean_t sqrt( mean_k (20 log10 |S[k, t]| / |E[k, t]|)^2 ),  both at least the floor

    Level counts: bring the estimate to the level of the reference first if it shall not.

    Parameters
    ----------
    reference : (..., N) the wanted waveform
    estimate : (..., N) what was made of it
    n_fft, hop_length : of the STFT, in samples; Hann window. Values for different n_fft do not
        compare
    floor_db : what lies further below the loudest bin of the reference counts as this, dB <= 0

    Returns
    -------
    (...) dB >= 0, a float for one waveform: 0 for equal magnitudes, |g| for a gain of g dB as far
    as the floor is not reached; nan for a silent reference, which has no loudest bin

    References
    ----------
    Gray & Markel (1976), Distance measures for speech processing, IEEE Trans. ASSP 24(5): the rms
    log-spectral distance d_2.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(4000)
    >>> round(log_spectral_distance(noise, 0.5 * noise), 2)
    6.02

    A silent estimate lies on the floor, and noise on average 67 dB above it:

    >>> round(log_spectral_distance(noise, 0 * noise), 1)
    66.6
    """
    reference, estimate = (
        require_signal("reference", reference),
        require_signal("estimate", estimate),
    )
    if reference.shape != estimate.shape:
        raise ShapeError(
            f"reference and estimate must have one shape, got {reference.shape} and "
            f"{estimate.shape}; cut or pad one of them first"
        )
    if not -math.inf < floor_db <= 0:
        raise ConfigError(f"floor_db must be finite and at most 0 dB, got {floor_db!r}")
    peak = np.abs(reference).max(axis=-1, keepdims=True).astype(np.float64)
    silent = peak[..., 0] == 0
    peak[silent] = 1
    S, E = (
        np.abs(stft(x / peak, n_fft=n_fft, hop_length=hop_length)) for x in (reference, estimate)
    )  # (..., F, T)
    floor = 10 ** (floor_db / 20) * S.max(axis=(-2, -1), keepdims=True)
    floor[silent] = 1
    D = 20 * np.log10(np.maximum(S, floor) / np.maximum(E, floor))
    distance = np.sqrt(np.square(D).mean(axis=-2)).mean(axis=-1)  # (...)
    distance = np.where(silent, np.nan, distance)
    return float(distance) if distance.ndim == 0 else distance
